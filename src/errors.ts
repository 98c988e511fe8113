// The errors a caller can tell apart. Each says what, where and what to do; the command line maps `exitStatus` to its own.

export interface ErrorDetails {
  /** Short and stable, for programs: e.g. "unsupported-op", "peer-left". */
  readonly code: string;
  /** What to do about it. */
  readonly hint?: string;
  /** Where it was found: a node, a file, a message label. */
  readonly where?: string;
  readonly cause?: unknown;
}

/** Base of every error Tessera throws on purpose. */
export class TesseraError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  readonly where: string | undefined;
  readonly exitStatus: number = 1;
  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code;
    this.hint = details.hint;
    this.where = details.where;
  }
}

/** The call itself is wrong: flags, arguments, options. Exit status 2. */
export class UsageError extends TesseraError {
  override readonly exitStatus: number = 2;
}

/** A model, picture, spec or data set that cannot be used. Exit status 3. */
export class DataError extends TesseraError {
  override readonly exitStatus: number = 3;
}

/** Another party failed, left, or sent what the protocol does not allow. Exit status 4. */
export class PeerError extends TesseraError {
  override readonly exitStatus: number = 4;
}
