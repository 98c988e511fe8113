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
// Simulators. Client: ỹ has a mask c the client lacks (drawn by server and provider for this opening alone), the planes and the half of z̃
// are padded with the server's half of their masks: all uniform. Server: every dealt share is padded by the client's half, planes likewise,
// and the result by lambda'. The provider receives nothing.
// Function-dependent masks as in ASTRA (2019) and ABY2.0 (2021); truncation as in Escudero et al. (2020).
import type { Words } from '../../kernel/compute.js';
import type { ReluStep } from '../../model/program.js';
import { callWords, ringWords, runWords, setWords, setZero, wordBytes } from '../../ring/words.js';
import { messageNames } from '../messages.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from '../operation.js';
import { asWords, carve, carvedBytes, packedBytes, payloadReader, payloadWriter, planeStride } from '../packing.js';
import { type PatchLayout, patchCounts, patchLayout } from '../patches.js';
import * as comparison from './comparison.js';
import * as identity from './identity.js';
import { type ComparisonPlan, planComparison } from './plan.js';

/** Draws of the step: with the client (shares, then lambda'), with the server (planes and the opening's mask c). */
const parts = { shares: 0, mask: 1, planes: 2 } as const;

const words = (context: StepContext, length: number): Words => ringWords(context.memory, context.program.ringBits, length);

interface Shape {
  readonly k: number;
  readonly f: number;
  /** Low bits the server leaves out of the opening. */
  readonly dropped: number;
  /** Lowest compared bit in the scale of the opened words. */
  readonly shift: number;
  readonly plan: ComparisonPlan;
  readonly hinges: number;
}

function shapeOf(step: ReluStep, { program }: CostEnvironment): Shape {
  const f = step.truncateBits;
  const { low, high } = step.window;
  const dropped = low >= f ? f : 0;
  return {
    k: program.ringBits,
    f,
    dropped,
    shift: low - dropped,
    plan: planComparison(high - low),
    hinges: step.cap === undefined ? 1 : 2,
  };
}

function sizes(step: ReluStep, environment: CostEnvironment) {
  const { k, f, dropped, plan, hinges } = shapeOf(step, environment);
  const { compared, blocks, identity: passed } = patchCounts(step, environment);
  const planes = comparison.openedBytes(plan, blocks, hinges);
  const pass = identity.identityBytes(passed, k, f);
  const pair = packedBytes(compared, k) + packedBytes(compared, f);
  return {
    correlation: comparison.dealtBytes(plan, blocks, hinges) + pair + hinges * (pair + packedBytes(blocks, k)) + pass.correlation,
    opening: packedBytes(compared, k - dropped) + planes.first + pass.opening,
    answer: planes.first + planes.second + pass.answer,
    signs: planes.second + planes.result,
    result: planes.result + packedBytes(compared, k),
  };
}

function messages(step: ReluStep, environment: CostEnvironment): MessageSize[] {
  const size = sizes(step, environment);
  const { compared, identity: passed } = patchCounts(step, environment);
  if (compared + passed === 0) return [];
  const list: MessageSize[] = [
    { phase: 'offline', link: 'provider>server', name: messageNames.correlation, bytes: size.correlation },
    { phase: 'online', link: 'server>client', name: messageNames.opening, bytes: size.opening },
    { phase: 'online', link: 'client>server', name: messageNames.answer, bytes: size.answer },
  ];
  if (compared === 0) return list;
  return [
    ...list,
    { phase: 'online', link: 'server>client', name: messageNames.signs, bytes: size.signs },
    { phase: 'online', link: 'client>server', name: messageNames.result, bytes: size.result },
  ];
}

/** What client and provider draw together, cut into its parts. */
interface ClientDraw {
  readonly shares: comparison.ComparisonShares;
  readonly high: Words;
  readonly carry: Words;
  readonly hinges: readonly { readonly high: Words; readonly carry: Words; readonly zeta: Words }[];
  readonly identity: readonly Uint8Array[];
}

async function drawWithClient(
  context: StepContext,
  { k, plan, hinges }: Shape,
  layout: PatchLayout,
  peer: 'client' | 'provider',
): Promise<ClientDraw> {
  const { compared, blocks } = layout;
  const compareSizes = comparison.clientDrawSizes(plan, blocks, hinges);
  const [each, block] = [wordBytes(k) * compared, wordBytes(k) * blocks];
  const hingeSizes = Array.from({ length: hinges }, () => [each, each, block]).flat();
  const all = [...compareSizes, each, each, ...hingeSizes, ...identity.identityDrawSizes(layout.identity, k)];
  const whole = context.memory.bytes(carvedBytes(all));
  await context.draw(peer, parts.shares, whole);
  const pieces = carve(whole, all);
  const shares = comparison.clientShares(plan, blocks, hinges, pieces.splice(0, compareSizes.length));
  const take = (number: number) => pieces.splice(0, number).map((part) => asWords(part, k));
  const [high, carry] = take(2);
  const dealt = Array.from({ length: hinges }, () => {
    const [h, c, zeta] = take(3);
    return { high: h!, carry: c!, zeta: zeta! };
  });
  return { shares, high: high!, carry: carry!, hinges: dealt, identity: pieces };
}

async function drawWithServer(
  context: StepContext,
  { k, plan, hinges }: Shape,
  layout: PatchLayout,
  step: ReluStep,
  peer: 'server' | 'provider',
) {
  const planeSizes = comparison.serverDrawSizes(plan, layout.blocks, hinges);
  const all = [...planeSizes, wordBytes(k) * context.elements(step.input)];
  const whole = context.memory.bytes(carvedBytes(all));
  await context.draw(peer, parts.planes, whole);
  const pieces = carve(whole, all);
  const openingMask = asWords(pieces.pop()!, k);
  return { planes: pieces, openingMask };
}

/** The input under the opening's own mask, split into compared and identity elements. */
async function splitInput(context: StepContext, step: ReluStep, layout: PatchLayout, openingMask: Words) {
  const { compute } = context;
  const all = openingMask;
  await runWords(compute, 'add', all, [all, all, context.value(step.input)], all.length);
  if (!layout.comparedAt) return { compared: all, passed: words(context, 0) };
  const compared = words(context, layout.compared);
  const passed = words(context, layout.identity);
  await runWords(compute, 'gather', compared, [compared, all, layout.comparedAt], layout.compared);
  await runWords(compute, 'gather', passed, [passed, all, layout.identityAt!], layout.identity);
  return { compared, passed };
}

/** Puts compared and identity results back in their places; zero channels stay 0. */
async function joinOutput(context: StepContext, step: ReluStep, layout: PatchLayout, compared: Words, passed: Words): Promise<Words> {
  if (!layout.comparedAt) return compared;
  const out = words(context, context.elements(step.output));
  setZero(out);
  await runWords(context.compute, 'scatter', out, [out, compared, layout.comparedAt], layout.compared);
  await runWords(context.compute, 'scatter', out, [out, passed, layout.identityAt!], layout.identity);
  context.memory.free(compared, passed);
  return out;
}

/** Elements in each block, as ring words. */
function blockSizes(context: StepContext, { blockSizes }: PatchLayout): Words {
  return context.cached('sizes', () => {
    const sizes = ringWords(context.compute, context.program.ringBits, blockSizes.length);
    setWords(sizes, blockSizes);
    return sizes;
  });
}

/** The words that are compared for one hinge: block sums of the opened words, less the cap of every element of the block. */
async function compareWords(
  context: StepContext,
  step: ReluStep,
  { dropped }: Shape,
  layout: PatchLayout,
  opened: Words,
  hinge: number,
): Promise<Words> {
  const { compute } = context;
  if (!layout.blockOf && hinge === 0) return opened;
  const sums = words(context, layout.blocks);
  if (layout.blockOf) {
    setZero(sums);
    callWords(compute, 'scatterAdd', sums, [sums, opened, layout.blockOf], layout.compared);
  } else setWords(sums, opened);
  if (hinge === 1)
    await runWords(compute, 'addScaled', sums, [sums, blockSizes(context, layout), -step.cap! / 2 ** dropped], layout.blocks);
  return sums;
}

/** A plane of one bit a block as one bit an element. */
function elementPlane({ compute, memory }: StepContext, layout: PatchLayout, plane: Uint8Array): Uint8Array {
  if (!layout.blockOf) return plane;
  const out = memory.bytes(planeStride(layout.compared));
  compute.call('gatherBits', out, plane, layout.blockOf, 0, layout.compared);
  return out;
}

/** ỹ >> f, from what was opened. */
async function truncated(context: StepContext, { k, f }: Shape, opened: Words, dropped: number): Promise<Words> {
  if (dropped === f) return opened;
  const v = words(context, opened.length);
  await runWords(context.compute, 'shift', v, [v, opened, k, f], opened.length);
  return v;
}

/** One party's share of x, added to `addend`, for every hinge. */
async function select(
  context: StepContext,
  step: ReluStep,
  shape: Shape,
  layout: PatchLayout,
  v: Words,
  signs: readonly comparison.Planes[],
  shares: Pick<ClientDraw, 'high' | 'carry' | 'hinges'>,
  addend: Words,
  first: 0 | 1,
): Promise<Words> {
  const { compute, memory } = context;
  const out = words(context, layout.compared);
  for (const [hinge, dealt] of shares.hinges.entries()) {
    let zeta = dealt.zeta;
    if (layout.blockOf) {
      zeta = words(context, layout.compared);
      await runWords(compute, 'gather', zeta, [zeta, dealt.zeta, layout.blockOf], layout.compared);
    }
    const z = elementPlane(context, layout, signs[hinge]!.block);
    const carries = shape.f > 0 ? [shares.carry, dealt.carry] : [0, 0];
    const offset = hinge === 0 ? 0 : step.cap! / 2 ** shape.f;
    await runWords(
      compute,
      'selectTruncated',
      out,
      [
        out,
        hinge === 0 ? addend : out,
        v,
        z,
        shares.high,
        carries[0]!,
        dealt.high,
        carries[1]!,
        zeta,
        shape.k,
        shape.f,
        offset,
        hinge === 0 ? 1 : -1,
        first,
      ],
      layout.compared,
      { grain: 128, costPerItem: 2 },
    );
    if (layout.blockOf) memory.free(zeta, z);
  }
  return out;
}

interface ClientMaterial {
  readonly shape: Shape;
  readonly layout: PatchLayout;
  readonly drawn: ClientDraw;
  readonly mask: Words;
}

async function outputMask(
  context: StepContext,
  step: ReluStep,
  layout: PatchLayout,
  f: number,
  drawn: ClientDraw,
  peer: 'client' | 'provider',
) {
  const mask = words(context, layout.compared);
  await context.draw(peer, parts.mask, mask);
  const passed = await identity.identityMask(context, layout.identity, f, drawn.identity);
  const own = words(context, layout.compared);
  setWords(own, mask);
  context.give(step.output, await joinOutput(context, step, layout, own, passed));
  return mask;
}

async function clientOffline(context: StepContext, step: ReluStep): Promise<ClientMaterial> {
  const shape = shapeOf(step, context);
  const layout = patchLayout(context, step);
  const drawn = await drawWithClient(context, shape, layout, 'provider');
  return { shape, layout, drawn, mask: await outputMask(context, step, layout, shape.f, drawn, 'provider') };
}

async function providerOffline(context: StepContext, step: ReluStep): Promise<void> {
  const shape = shapeOf(step, context);
  const { k, f, plan } = shape;
  const layout = patchLayout(context, step);
  const { compute, memory } = context;
  const drawn = await drawWithClient(context, shape, layout, 'client');
  memory.free(await outputMask(context, step, layout, f, drawn, 'client'));
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
  for (const [hinge, dealt] of drawn.hinges.entries()) {
    await deal(elementPlane(context, layout, zetas[hinge]!), dealt.high, dealt.carry);
    await runWords(compute, 'bitMinus', dealt.zeta, [dealt.zeta, zetas[hinge]!], layout.blocks, { grain: 128 });
    await message.words(dealt.zeta, layout.blocks, k);
  }
  await identity.dealIdentity(context, masks.passed, layout.identity, f, drawn.identity, message);
  context.send('server', messageNames.correlation, message.done());
}

interface ServerMaterial {
  readonly shape: Shape;
  readonly layout: PatchLayout;
  readonly openingMask: Words;
  readonly compare: comparison.ComparisonShares;
  readonly shares: Pick<ClientDraw, 'high' | 'carry' | 'hinges'>;
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
  const dealt = [];
  for (let hinge = 0; hinge < hinges; hinge++)
    dealt.push({ high: await read(compared, k), carry: await read(compared, f), zeta: await read(blocks, k) });
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
  const mine: comparison.Planes[] = [];
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
  const signs: comparison.Planes[] = [];
  const signsMessage = payloadWriter(context, size.signs);
  for (let hinge = 0; hinge < hinges; hinge++) {
    comparison.open(context, mine[hinge]!, comparison.readPlanes(context, answer, mine[hinge]!.number, blocks));
    let last = mine[hinge]!;
    if (plan.second) {
      last = comparison.secondLevel(context, plan, compare, hinge, last, false);
      signsMessage.planes(last.block, last.number, blocks);
      comparison.open(context, last, comparison.readPlanes(context, answer, plan.second.masks, blocks));
    }
    signs.push(comparison.resultPlane(context, plan, compare, hinge, last, false, sums[hinge]!, shift));
    signsMessage.planes(signs[hinge]!.block, signs[hinge]!.number, blocks);
  }
  const e = words(context, layout.identity);
  await answer.words(e, layout.identity, f);
  const passed = await identity.identityResult(context, pass, material.identity, e, layout.identity, f);
  if (compared === 0) return context.give(step.output, await joinOutput(context, step, layout, words(context, 0), passed));
  context.send('client', messageNames.signs, signsMessage.done());

  const result = payloadReader(context, await context.receive('client', messageNames.result, size.result));
  for (const plane of signs) comparison.open(context, plane, comparison.readPlanes(context, result, 1, blocks));
  const theirs = words(context, compared);
  await result.words(theirs, compared, k);
  const x = await select(context, step, shape, layout, v, signs, shares, theirs, 0);
  context.give(step.output, await joinOutput(context, step, layout, x, passed));
}

async function clientOnline(context: StepContext, step: ReluStep, { shape, layout, drawn, mask }: ClientMaterial): Promise<void> {
  const { k, f, dropped, plan, shift, hinges } = shape;
  const { compared, blocks } = layout;
  const { memory } = context;
  const size = sizes(step, context);
  if (compared + layout.identity === 0) return;
  const opening = payloadReader(context, await context.receive('server', messageNames.opening, size.opening));
  const opened = words(context, compared);
  await opening.words(opened, compared, k - dropped);
  const answer = payloadWriter(context, size.answer);
  const sums: Words[] = [];
  const levels: comparison.Planes[] = [];
  for (let hinge = 0; hinge < hinges; hinge++) {
    sums.push(await compareWords(context, step, shape, layout, opened, hinge));
    const mine = await comparison.lookUp(context, plan, drawn.shares, hinge, sums[hinge]!, shift);
    answer.planes(mine.block, mine.number, blocks);
    comparison.open(context, mine, comparison.readPlanes(context, opening, mine.number, blocks));
    const second = plan.second ? comparison.secondLevel(context, plan, drawn.shares, hinge, mine, true) : mine;
    if (plan.second) answer.planes(second.block, second.number, blocks);
    levels.push(second);
  }
  const plane = memory.bytes(planeStride(layout.identity));
  opening.raw(plane, packedBytes(layout.identity, 1));
  await answer.words(await identity.identityAnswer(context, plane, layout.identity, drawn.identity), layout.identity, f);
  context.send('server', messageNames.answer, answer.done());
  if (compared === 0) return;
  const v = await truncated(context, shape, opened, dropped);

  const theirs = payloadReader(context, await context.receive('server', messageNames.signs, size.signs));
  const result = payloadWriter(context, size.result);
  const signs: comparison.Planes[] = [];
  for (let hinge = 0; hinge < hinges; hinge++) {
    const last = levels[hinge]!;
    if (plan.second) comparison.open(context, last, comparison.readPlanes(context, theirs, plan.second.masks, blocks));
    signs.push(comparison.resultPlane(context, plan, drawn.shares, hinge, last, true, sums[hinge]!, shift));
    result.planes(signs[hinge]!.block, signs[hinge]!.number, blocks);
    comparison.open(context, signs[hinge]!, comparison.readPlanes(context, theirs, 1, blocks));
  }
  await result.words(await select(context, step, shape, layout, v, signs, drawn, mask, 1), compared, k);
  context.send('server', messageNames.result, result.done());
}

export const relu: Operation<ReluStep, ClientMaterial, ServerMaterial | undefined, void> = {
  messages,
  rounds: (step, environment) => messages(step, environment).filter((m) => m.phase === 'online').length,
  client: { offline: clientOffline, online: clientOnline },
  server: { offline: serverOffline, online: serverOnline },
  provider: { offline: providerOffline },
};
