// Block ReLU with truncation (and ReLU6) on shares: rectify.ts on the compared elements, then truncation (truncate.ts). Identity channels are
// truncated alone, zero channels are 0: with local truncation both are free.
//
// The roles' messages, formulas and simulators are those of rectify.ts and truncate.ts.
import type { Words } from '../../kernel/compute.js';
import type { ReluStep } from '../../model/program.js';
import { ringWords, runWords, setWords } from '../../ring/words.js';
import { type CostEnvironment, type Depths, type MessageSize, type Operation, roundStride, type StepContext } from '../operation.js';
import { type PatchLayout, patchCounts, patchLayout } from '../patches.js';
import { numbered, rounds } from './drelu.js';
import type { Party } from './privatecompare.js';
import * as rectify from './rectify.js';
import type { Truncation, TruncationMaterial } from './truncate.js';

type Context = StepContext<Words>;

function shapeOf(step: ReluStep, environment: CostEnvironment): rectify.Shape {
  const { compared, blocks } = patchCounts(step, environment);
  return rectify.shapeOf({ ringBits: environment.program.ringBits, window: step.window, firstChunk: 0, cap: step.cap }, compared, blocks);
}

/** Elements that are truncated: those of zero channels are not. */
const kept = (step: ReluStep, environment: CostEnvironment): number => {
  const { compared, identity } = patchCounts(step, environment);
  return compared + identity;
};

/** The truncation's messages and draws are numbered after the chunks'. */
const truncationContext = (context: Context, shape: rectify.Shape): Context => {
  const after = context.branch(true);
  return { ...after, ...numbered(after, rectify.nextChunk(shape)) } as Context;
};

function messages(truncation: Truncation, step: ReluStep, environment: CostEnvironment): MessageSize[] {
  const shape = shapeOf(step, environment);
  if (kept(step, environment) === 0) return [];
  const offset = rectify.nextChunk(shape) * roundStride;
  const truncated = truncation.messages(environment, kept(step, environment), step.truncateBits);
  return [...rectify.messages(shape), ...truncated.map((m) => ({ ...m, name: m.name + offset }))];
}

function roundsOf(truncation: Truncation, step: ReluStep, environment: CostEnvironment): number {
  if (kept(step, environment) === 0) return 0;
  return (patchCounts(step, environment).compared > 0 ? rounds : 0) + truncation.rounds(step.truncateBits);
}

function depthsOf(truncation: Truncation, step: ReluStep, environment: CostEnvironment, before: Depths): Depths {
  if (kept(step, environment) === 0) return before;
  if (patchCounts(step, environment).compared === 0) return truncation.depths(step.truncateBits, before);
  const both = Math.max(before.client, before.server) + rounds;
  return truncation.depths(step.truncateBits, { client: both, server: both });
}

/** Which block an element belongs to, and the blocks' sizes in ring words. */
function blocksOf(context: Context, step: ReluStep, layout: PatchLayout): rectify.Blocks {
  const { ringBits } = context.program;
  const sizes = (): Words => {
    const words = ringWords(context.compute, ringBits, layout.blocks);
    setWords(words, layout.blockSizes);
    return words;
  };
  return {
    ...(layout.blockOf && { blockOf: layout.blockOf }),
    ...(step.cap !== undefined && { blockSizes: context.cached('sizes', sizes) }),
  };
}

/** Compared elements first, then identity ones; the value itself where every element is compared. */
async function gatherKept(context: Context, layout: PatchLayout, value: Words): Promise<Words> {
  const { compute, memory, program } = context;
  const words = ringWords(memory, program.ringBits, layout.compared + layout.identity);
  const take = (to: Words, index: Int32Array | undefined) =>
    index ? runWords(compute, 'gather', to, [to, value, index], to.length) : runWords(compute, 'scale', to, [to, value, 1], to.length);
  await take(words.subarray(0, layout.compared), layout.comparedAt);
  if (layout.identityAt) await take(words.subarray(layout.compared), layout.identityAt);
  return words;
}

async function zeros({ compute, memory, program, elements }: Context, step: ReluStep): Promise<Words> {
  const out = ringWords(memory, program.ringBits, elements(step.output));
  await runWords(compute, 'scale', out, [out, out, 0], out.length);
  return out;
}

/** The inverse: elements of zero channels are 0. */
async function scatterKept(context: Context, step: ReluStep, layout: PatchLayout, words: Words): Promise<Words> {
  if (!layout.comparedAt || !layout.identityAt) return words;
  const { compute, memory } = context;
  const out = await zeros(context, step);
  const put = (from: Words, index: Int32Array) => runWords(compute, 'scatter', out, [out, from, index], from.length);
  await put(words.subarray(0, layout.compared), layout.comparedAt);
  await put(words.subarray(layout.compared), layout.identityAt);
  memory.free(words);
  return out;
}

interface Material {
  readonly rectify: rectify.PartyMaterial;
  readonly truncation: TruncationMaterial | undefined;
}

async function partyOffline(truncation: Truncation, self: Party, context: Context, step: ReluStep): Promise<Material | undefined> {
  if (kept(step, context) === 0) return undefined;
  const shape = shapeOf(step, context);
  const material = await rectify.partyOffline(context, self, shape);
  const own = truncationContext(context, shape);
  return { rectify: material, truncation: await truncation[self].offline(own, kept(step, context), step.truncateBits) };
}

async function partyOnline(
  truncation: Truncation,
  self: Party,
  context: Context,
  step: ReluStep,
  material: Material | undefined,
): Promise<void> {
  const { memory } = context;
  if (!material) return context.give(step.output, await zeros(context, step));
  const shape = shapeOf(step, context);
  const layout = patchLayout(context, step);
  const words = await gatherKept(context, layout, context.value(step.input));
  const compared = words.subarray(0, layout.compared);
  const positive = await rectify.partyOnline(context, self, shape, blocksOf(context, step, layout), compared, material.rectify);
  await runWords(context.compute, 'scale', compared, [compared, positive, 1], positive.length);
  memory.free(positive);
  await truncation[self].online(truncationContext(context, shape), words, step.truncateBits, material.truncation);
  context.give(step.output, await scatterKept(context, step, layout, words));
}

/** ReLU with a way to truncate. */
export function relu(
  truncation: Truncation,
): Operation<ReluStep, Material | undefined, Material | undefined, rectify.DealerMaterial, Words> {
  const part = (self: Party) => ({
    offline: (context: Context, step: ReluStep) => partyOffline(truncation, self, context, step),
    online: (context: Context, step: ReluStep, material: Material | undefined) => partyOnline(truncation, self, context, step, material),
  });
  return {
    messages: (step, environment) => messages(truncation, step, environment),
    rounds: (step, environment) => roundsOf(truncation, step, environment),
    depths: (step, environment, before) => depthsOf(truncation, step, environment, before),
    client: part('client'),
    server: part('server'),
    provider: {
      async offline(context, step) {
        const shape = shapeOf(step, context);
        const material = await rectify.providerOffline(context, shape);
        if (kept(step, context) > 0)
          await truncation.provider.offline(truncationContext(context, shape), kept(step, context), step.truncateBits);
        return material;
      },
      online: (context, step, material) =>
        rectify.providerOnline(context, shapeOf(step, context), blocksOf(context, step, patchLayout(context, step)), material),
    },
  };
}
