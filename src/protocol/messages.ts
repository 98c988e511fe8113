// Codes of the messages that steps exchange, in one place. A step with several rounds of the same kind (maxpool) adds 16 a round.

export const messageNames = {
  /** client > server, offline: rho - D * lambda of a linear layer. */
  maskedProduct: 1,
  /** provider > server, offline: shares of a non-linear step. */
  correlation: 2,
  /** server > client: a value under its opening's mask, with the server's first comparison planes. */
  opening: 3,
  /** client > server: the client's comparison planes. */
  answer: 4,
  /** server > client: the server's second planes and its half of the signs. */
  signs: 5,
  /** client > server: its half of the signs, and its share of the result under a fresh mask. */
  result: 6,
  /** client > server: the masked input. */
  input: 7,
  /** server > client: the masked output. */
  output: 8,
  /** client > provider, in suites where the provider takes part online: the inference starts, or is given up. */
  start: 9,
  /** server > client, offline: W - B of a layer whose B serves one inference. */
  difference: 10,
  /** client > server: a share under a mask that is drawn with the provider. */
  masked: 11,
  /** provider > server, offline: shares of a truncation. */
  truncation: 12,
  /** client > server: a share under a truncation's mask. */
  truncationOpening: 13,
  /** server > client: a bit of each opened value. */
  truncationBits: 14,
} as const;

/** The same of the `securenn` suite's comparisons. */
export const comparisonNames = {
  /** provider > client, server, offline: shares for share conversion. */
  conversionDeal: 1,
  /** client <> server: a share under its mask. */
  conversionOpening: 2,
  /** client, server > provider: masked digits of private compare. */
  conversionDigits: 3,
  /** provider > client, server: shares of what it found. */
  conversionShares: 4,
  /** The same four of the most significant bit. */
  signDeal: 5,
  signOpening: 6,
  signDigits: 7,
  signShares: 8,
  /** client <> server: the value that a sign selects, under a mask. */
  selectionOpening: 9,
  /** provider > client, server: shares of sign times mask. */
  selectionShares: 10,
} as const;
