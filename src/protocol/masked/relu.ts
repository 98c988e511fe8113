// Block ReLU with truncation (and ReLU6 as the difference of two): sealed or hidden in, hidden out.
//
// For y opened as ỹ = y + mu, with the shares of truncate (identity.ts) and the sign z = z̃ ^ zeta of comparison.ts:
//   trunc(y) = A - mu_f + b 2^(k-f) mu_m,   x = z trunc(y) = z̃ (…) + (1 - 2 z̃)(A zeta + b 2^(k-f) mu_m zeta - mu_f zeta)
// i.e. public coefficients times values the provider knows and deals as shares: mu_f, mu_m, mu_f zeta, mu_m zeta an element, zeta a block.
// min(relu(y), cap) = relu(y) - relu(y - cap): the same opening, tables and mask, a second sign.
//
// offline  provider > server  correlation: tables, products, the five shares; for identity channels two words
// online   server > client    opening: ỹ >> f (all of ỹ when the window starts below f), first planes
//          client > server    answer: first planes, and second planes (it already knows what the first ones open)
//          server > client    signs: second planes, its half of z̃
//          client > server    result: its half of z̃, its share of x under the fresh mask lambda'
//
// In one round trip (the step's comparison says so; one or two digits) z is never opened: it is a sum of four zetas with coefficients that are known
// once the first planes are open (open-sign.ts), so that the client knows its share of x when it has the opening. Four times as many shares are dealt.
//
// online   server > client    opening: as above
//          client > server    answer: first planes, its share of x under lambda'
//
// Simulators. Client: ỹ has a mask c the client lacks (drawn by server and provider for this opening alone), the planes and the half of z̃
// are padded with the server's half of their masks: all uniform. Server: every dealt share is padded by the client's half, planes likewise,
// and the result by lambda'. The provider receives nothing.
// Function-dependent masks as in ASTRA (2019) and ABY2.0 (2021); truncation as in Escudero et al. (2020).
import type { Words } from '../../kernel/compute.js';
import type { ReluStep } from '../../model/program.js';
import { runWords, setZero } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { Operation, StepContext } from '../operation.js';
import { type PayloadReader, type PayloadWriter, packedBytes, payloadReader, payloadWriter, planeStride } from '../packing.js';
import { type PatchLayout, patchLayout } from '../patches.js';
import * as comparison from './comparison.js';
import * as identity from './identity.js';
import { type OpenSign, openSign } from './open-sign.js';
import { inPieces } from './pieces.js';
import { open, type Planes, readPlanes } from './planes.js';
import {
  type ClientDraw,
  clientBytes,
  compareWords,
  type Dealt,
  differ,
  drawWithClient,
  drawWithServer,
  elementPlane,
  joinOutput,
  maskAgain,
  nothingPasses,
  outputMask,
  type Selector,
  select,
  splitInput,
  truncated,
  words,
} from './relu-parts.js';
import { messages, type Shape, shapeOf, sizes } from './relu-shape.js';

interface ClientMaterial {
  readonly shape: Shape;
  readonly layout: PatchLayout;
  readonly drawn: ClientDraw;
  readonly mask: Words;
}

/** Where there is no room to keep what is drawn, what the output's mask needs is drawn, and all of it again when the step comes. */
async function clientOffline(context: StepContext, step: ReluStep): Promise<() => Promise<ClientMaterial>> {
  const { memory } = context;
  const shape = shapeOf(step, context);
  const layout = patchLayout(context, step);
  const kept = context.keep(clientBytes(shape, layout));
  const passes = layout.identity > 0;
  const drawn = kept || passes ? await drawWithClient(context, shape, layout, 'provider') : undefined;
  const mask = await outputMask(context, step, layout, shape.f, drawn?.identity ?? nothingPasses(context), 'provider');
  if (kept) {
    await differ(context, drawn!.hinges);
    return async () => ({ shape, layout, drawn: drawn!, mask });
  }
  memory.free(mask);
  if (drawn) memory.free(drawn.whole);
  return async () => {
    const anew = await drawWithClient(context, shape, layout, 'provider', passes);
    await differ(context, anew.hinges);
    return { shape, layout, drawn: anew, mask: await maskAgain(context, layout) };
  };
}

async function providerOffline(context: StepContext, step: ReluStep): Promise<void> {
  const shape = shapeOf(step, context);
  const { k, f, plan } = shape;
  const layout = patchLayout(context, step);
  const { compute, memory } = context;
  const drawn = await drawWithClient(context, shape, layout, 'client');
  memory.free(await outputMask(context, step, layout, f, drawn.identity, 'client'));
  const withServer = await drawWithServer(context, shape, layout, step, 'server');
  const masks = await splitInput(context, step, layout, withServer.openingMask);
  const opened = words(context, layout.compared);
  await runWords(compute, 'shift', opened, [opened, masks.compared, k, shape.dropped], layout.compared);
  const sums = await compareWords(context, step, shape, layout, opened, 0);
  if (layout.compared + layout.identity === 0) return;
  const message = payloadWriter(context, sizes(step, context).correlation);
  const zetas = await comparison.dealComparison(context, plan, sums, shape.shift, drawn.shares, withServer.planes, message);
  const carry = (part: Words): Words | number => (f > 0 ? part : 0);
  const deal = async (plane: Uint8Array | 0, high: Words, low: Words) => {
    const args = [masks.compared, plane, high, carry(low), k, f];
    await runWords(compute, 'shareTruncation', high, args, layout.compared, { grain: 128, costPerItem: 2 });
    await message.words(high, layout.compared, k);
    await message.words(low, layout.compared, f);
  };
  await deal(0, drawn.high, drawn.carry);
  for (const [hinge, selectors] of drawn.hinges.entries()) {
    for (const [i, dealt] of selectors.entries()) {
      const zeta = zetas[hinge]![i]!;
      await deal(elementPlane(context, layout, zeta), dealt.high, dealt.carry);
      await runWords(compute, 'bitMinus', dealt.zeta, [dealt.zeta, zeta], layout.blocks, { grain: 128 });
      await message.words(dealt.zeta, layout.blocks, k);
    }
  }
  await identity.dealIdentity(context, masks.passed, layout.identity, f, drawn.identity, message);
  context.send('server', messageNames.correlation, message.done());
}

interface ServerMaterial {
  readonly shape: Shape;
  readonly layout: PatchLayout;
  readonly openingMask: Words;
  readonly compare: comparison.ComparisonShares;
  readonly shares: Dealt;
  readonly identity: identity.IdentityShares;
}

async function serverOffline(context: StepContext, step: ReluStep): Promise<ServerMaterial | undefined> {
  const shape = shapeOf(step, context);
  const { k, f, plan, hinges } = shape;
  const layout = patchLayout(context, step);
  const { compared, blocks } = layout;
  const drawn = await drawWithServer(context, shape, layout, step, 'provider');
  if (compared + layout.identity === 0) return undefined;
  const message = payloadReader(context, await context.receive('provider', messageNames.correlation, sizes(step, context).correlation));
  const compare = comparison.serverShares(context, plan, blocks, drawn.planes, message);
  const read = async (count: number, bits: number) => {
    const read = words(context, count);
    await message.words(read, count, bits);
    return read;
  };
  const high = await read(compared, k);
  const carry = await read(compared, f);
  const dealt = Array.from({ length: hinges }, (): Selector[] => []);
  for (const selectors of dealt) {
    for (let i = 0; i < plan.zetas; i++)
      selectors.push({ high: await read(compared, k), carry: await read(compared, f), zeta: await read(blocks, k) });
  }
  await differ(context, dealt);
  const pass = await identity.readIdentity(context, layout.identity, f, message);
  message.free();
  return { shape, layout, openingMask: drawn.openingMask, compare, shares: { high, carry, hinges: dealt }, identity: pass };
}

/** Every channel is a zero one. */
function giveZeros(context: StepContext, step: ReluStep): void {
  const zeros = words(context, context.elements(step.output));
  setZero(zeros);
  context.give(step.output, zeros);
}

async function serverOnline(context: StepContext, step: ReluStep, material: ServerMaterial | undefined): Promise<void> {
  if (!material) return giveZeros(context, step);
  const { shape, layout, compare, shares } = material;
  const { k, f, dropped, plan, shift, hinges } = shape;
  const { compared, blocks } = layout;
  const size = sizes(step, context);
  const input = await splitInput(context, step, layout, material.openingMask);
  const opened = words(context, compared);
  await runWords(context.compute, 'shift', opened, [opened, input.compared, k, dropped], compared);
  const pass = await identity.identityOpening(context, input.passed, layout.identity, f);

  const opening = payloadWriter(context, size.opening);
  await opening.words(opened, compared, k - dropped);
  const mine: Planes[] = [];
  const sums: Words[] = [];
  for (let hinge = 0; hinge < hinges; hinge++) {
    sums.push(await compareWords(context, step, shape, layout, opened, hinge));
    mine.push(await comparison.lookUp(context, plan, compare, hinge, sums[hinge]!, shift));
    opening.planes(mine[hinge]!.block, mine[hinge]!.number, blocks);
  }
  opening.raw(pass.plane, packedBytes(layout.identity, 1));
  context.send('client', messageNames.opening, opening.done());
  const v = await truncated(context, shape, opened, dropped);

  const answer = payloadReader(context, await context.receive('client', messageNames.answer, size.answer));
  const signsMessage = payloadWriter(context, plan.direct ? 0 : size.signs);
  const signs = plan.direct
    ? directSigns(context, shape, mine, answer, blocks, sums)
    : serverSigns(context, material, mine, answer, signsMessage, sums);
  const e = words(context, layout.identity);
  await answer.words(e, layout.identity, f);
  const passed = await identity.identityResult(context, pass, material.identity, e, layout.identity, f);
  if (compared === 0) return context.give(step.output, await joinOutput(context, step, layout, words(context, 0), passed));

  const theirs = words(context, compared);
  if (plan.direct) await answer.words(theirs, compared, k);
  else {
    context.send('client', messageNames.signs, signsMessage.done());
    const result = payloadReader(context, await context.receive('client', messageNames.result, size.result));
    for (const plane of signs) open(context, { block: plane.flip, number: 1 }, readPlanes(context, result, 1, blocks));
    await result.words(theirs, compared, k);
  }
  const x = await select(context, step, shape, layout, v, signs, shares, theirs, 0);
  context.give(step.output, await joinOutput(context, step, layout, x, passed));
}

/** One round trip, client and server alike: the signs, once the other's halves of the planes are read. */
function directSigns(
  context: StepContext,
  { plan, shift }: Shape,
  mine: readonly Planes[],
  theirs: PayloadReader,
  blocks: number,
  sums: readonly Words[],
): OpenSign[] {
  return mine.map((planes, hinge) => {
    open(context, planes, readPlanes(context, theirs, planes.number, blocks));
    return openSign(context, plan, planes, sums[hinge]!, shift);
  });
}

/** Two round trips: the server's halves of the signs, which it writes, behind its second planes, as it reads the client's planes. */
function serverSigns(
  context: StepContext,
  { shape: { plan, shift }, layout: { blocks }, compare }: ServerMaterial,
  mine: readonly Planes[],
  answer: PayloadReader,
  message: PayloadWriter,
  sums: readonly Words[],
): OpenSign[] {
  return mine.map((planes, hinge) => {
    open(context, planes, readPlanes(context, answer, planes.number, blocks));
    let last = planes;
    if (plan.second) {
      last = comparison.secondLevel(context, plan, compare, hinge, last, false);
      message.planes(last.block, last.number, blocks);
      open(context, last, readPlanes(context, answer, plan.second.masks, blocks));
    }
    const sign = comparison.resultPlane(context, plan, compare, hinge, last, false, sums[hinge]!, shift);
    message.planes(sign.block, sign.number, blocks);
    return { flip: sign.block, terms: [] };
  });
}

async function clientOnline(context: StepContext, step: ReluStep, expand: () => Promise<ClientMaterial>): Promise<void> {
  const material = await expand();
  const { shape, layout, drawn, mask } = material;
  const { k, f, dropped, plan, shift, hinges } = shape;
  const { compared, blocks } = layout;
  const size = sizes(step, context);
  if (compared + layout.identity === 0) return;
  const opening = payloadReader(context, await context.receive('server', messageNames.opening, size.opening));
  const opened = words(context, compared);
  await opening.words(opened, compared, k - dropped);
  const answer = payloadWriter(context, size.answer);
  const sums: Words[] = [];
  const mine: Planes[] = [];
  for (let hinge = 0; hinge < hinges; hinge++) {
    sums.push(await compareWords(context, step, shape, layout, opened, hinge));
    const planes = await comparison.lookUp(context, plan, drawn.shares, hinge, sums[hinge]!, shift);
    answer.planes(planes.block, planes.number, blocks);
    if (plan.direct) mine.push(planes);
    else mine.push(clientLevels(context, material, planes, opening, answer, hinge));
  }
  const signs = plan.direct ? directSigns(context, shape, mine, opening, blocks, sums) : [];
  const plane = context.memory.bytes(planeStride(layout.identity));
  opening.raw(plane, packedBytes(layout.identity, 1));
  await answer.words(await identity.identityAnswer(context, plane, layout.identity, drawn.identity), layout.identity, f);
  const share = async (of: readonly OpenSign[], v: Words, message: PayloadWriter): Promise<void> => {
    await message.words(await select(context, step, shape, layout, v, of, drawn, mask, 1), compared, k);
  };
  if (plan.direct) await share(signs, await truncated(context, shape, opened, dropped), answer);
  context.send('server', messageNames.answer, answer.done());
  if (compared === 0 || plan.direct) return;
  const v = await truncated(context, shape, opened, dropped);

  const theirs = payloadReader(context, await context.receive('server', messageNames.signs, size.signs));
  const result = payloadWriter(context, size.result);
  await share(clientSigns(context, material, mine, theirs, result, sums), v, result);
  context.send('server', messageNames.result, result.done());
}

/** Two round trips: the client opens its first planes in place, and writes its second ones, which are returned where there are any. */
function clientLevels(
  context: StepContext,
  { shape: { plan }, layout: { blocks }, drawn }: ClientMaterial,
  mine: Planes,
  opening: PayloadReader,
  answer: PayloadWriter,
  hinge: number,
): Planes {
  open(context, mine, readPlanes(context, opening, mine.number, blocks));
  if (!plan.second) return mine;
  const second = comparison.secondLevel(context, plan, drawn.shares, hinge, mine, true);
  answer.planes(second.block, second.number, blocks);
  return second;
}

/** Two round trips: the signs, of which the client writes its halves as it reads the server's. */
function clientSigns(
  context: StepContext,
  { shape: { plan, shift }, layout: { blocks }, drawn }: ClientMaterial,
  levels: readonly Planes[],
  theirs: PayloadReader,
  result: PayloadWriter,
  sums: readonly Words[],
): OpenSign[] {
  return levels.map((last, hinge) => {
    if (plan.second) open(context, last, readPlanes(context, theirs, plan.second.masks, blocks));
    const sign = comparison.resultPlane(context, plan, drawn.shares, hinge, last, true, sums[hinge]!, shift);
    result.planes(sign.block, sign.number, blocks);
    open(context, sign, readPlanes(context, theirs, 1, blocks));
    return { flip: sign.block, terms: [] };
  });
}

/** A ReLU as a whole, however large. */
export const wholeRelu: Operation<ReluStep, () => Promise<ClientMaterial>, ServerMaterial | undefined> = {
  messages,
  rounds: (step, environment) => messages(step, environment).filter((m) => m.phase === 'online').length,
  client: { offline: clientOffline, online: clientOnline },
  server: { offline: serverOffline, online: serverOnline, putsOff: true },
  provider: { offline: providerOffline },
};

export const relu = inPieces(wholeRelu);
