// Seconds of an inference before any run: its messages and a machine's rates, played through as the parties would play them. Not here: how a
// machine is measured (src/cli/machine.ts).
//
// Each party has one line of work, as it has one event loop that feeds its kernels: steps whose inputs are there queue up for it, and a step
// that waits for a message lets others go on. A link's direction carries one message after the other. So what overlaps in a run overlaps here.
import { multiplyAdds } from '../kernel/geometry.js';
import { type Program, type Step, stepInputs } from '../model/program.js';
import { linkSpeed, type NetworkProfile } from '../wire/profiles.js';
import { controlMessages, controlNames, onWire } from './control.js';
import { movesOf } from './dry.js';
import { costEnvironment } from './estimate.js';
import type { CostEnvironment, Link, MessageSize, Role, RunPhase } from './operation.js';
import { operationOf, type Suite } from './suite.js';

/** What the work of a step in a phase is reckoned from: 1, elements read and written, bytes of its messages in that phase, multiply-adds. */
export type StepFeatures = readonly [one: number, elements: number, bytes: number, macs: number];

/** Seconds for each of {@link StepFeatures}. */
export type StepRates = readonly [number, number, number, number];

/** What a party does in a phase of a step of one kind. The ends count as steps. */
export type WorkKey = `${Step['kind'] | 'input' | 'output'} ${Role} ${RunPhase}`;

/** A machine that runs one party or, with the others, all of them. */
export interface MachineRates {
  /** From send to receive on one machine: sockets and event loops. */
  readonly message: { readonly seconds: number; readonly secondsPerByte: number };
  readonly work: Readonly<Partial<Record<WorkKey, StepRates>>>;
}

const bytesOf = (messages: readonly MessageSize[]): number => messages.reduce((sum, m) => sum + m.bytes, 0);

/** Features of a step. */
export function stepFeatures(step: Step, suite: Suite, environment: CostEnvironment, phase: RunPhase): StepFeatures {
  const elements = [...stepInputs(step), step.output].reduce((sum, id) => sum + environment.elements(id), 0);
  const messages = operationOf(suite, step).messages(step, environment);
  const bytes = bytesOf(messages.filter((m) => m.phase === phase));
  return [1, elements, bytes, step.kind === 'linear' ? environment.batch * multiplyAdds(step.geometry) : 0];
}

/** Features of the picture's way in and the result's way out. */
export function endFeatures(suite: Suite, environment: CostEnvironment): Readonly<Record<'input' | 'output', StepFeatures>> {
  const { program } = environment;
  return {
    input: [1, environment.elements(program.input), bytesOf(suite.ends.inputMessages(environment)), 0],
    output: [1, environment.elements(program.output), bytesOf(suite.ends.outputMessages(environment)), 0],
  };
}

const seconds = (features: StepFeatures, rates: StepRates | undefined): number =>
  rates === undefined ? 0 : features.reduce((sum, feature, i) => sum + feature * rates[i]!, 0);

/** Part of the program that a party plays as one: a step, or an end. */
interface Task {
  readonly name: string;
  /** Tasks of the same party that come first. */
  readonly after: readonly string[];
  readonly messages: readonly MessageSize[];
  /** Seconds of each party's work. */
  readonly work: Readonly<Record<Role, number>>;
  readonly roles: readonly Role[];
}

const roles: readonly Role[] = ['client', 'server', 'provider'];

/** The tasks of one phase, in an order in which each comes after those it needs. */
function tasksOf(program: Program, suite: Suite, batch: number, phase: RunPhase, machine: MachineRates): Task[] {
  const environment = costEnvironment(program, batch);
  const ends = endFeatures(suite, environment);
  const inPhase = (messages: readonly MessageSize[]) => messages.filter((m) => m.phase === phase);
  const workOf = (kind: Step['kind'] | 'input' | 'output', features: StepFeatures): Task['work'] => {
    const of = (role: Role) => seconds(features, machine.work[`${kind} ${role} ${phase}`]);
    return { client: of('client'), server: of('server'), provider: of('provider') };
  };
  const maker = new Map(program.steps.map((step, index) => [step.output, `step ${index}`]));
  const makerOf = (tensor: number): string => maker.get(tensor) ?? 'input';
  const start = phase === 'offline' ? ['start'] : [];
  const steps = program.steps.map((step, index): Task => {
    const messages = inPhase(operationOf(suite, step).messages(step, environment));
    const features = stepFeatures(step, suite, environment, phase);
    return {
      name: `step ${index}`,
      after: [...new Set(stepInputs(step).map(makerOf))],
      messages,
      work: workOf(step.kind, features),
      roles,
    };
  });
  const input = inPhase(suite.ends.inputMessages(environment));
  const output = inPhase(suite.ends.outputMessages(environment));
  const last = makerOf(program.output);
  const tasks: Task[] = [
    { name: 'input', after: start, messages: input, work: workOf('input', ends.input), roles },
    ...steps,
    { name: 'output', after: [last, ...start], messages: output, work: workOf('output', ends.output), roles },
  ];
  return phase === 'online' ? tasks : withControl(tasks);
}

const nothing = { client: 0, server: 0, provider: 0 } as const;

/** The offline tasks between what starts an inference and what says that its material is there. */
function withControl(tasks: readonly Task[]): Task[] {
  const ready = controlMessages.filter((m) => m.name === controlNames.ready);
  const start: Task = { name: 'start', after: [], messages: controlMessages.filter((m) => !ready.includes(m)), work: nothing, roles };
  const end: Task = { name: 'ready', after: tasks.map((task) => task.name), messages: ready, work: nothing, roles: ['client', 'server'] };
  return [start, ...tasks, end];
}

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly happen: () => void;
}

/** Things to come, the earliest first; what comes at the same time, in the order in which it was put in. */
function createAgenda() {
  const heap: Happening[] = [];
  let count = 0;
  const before = (a: Happening, b: Happening): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
  const swap = (i: number, j: number): void => {
    [heap[i], heap[j]] = [heap[j]!, heap[i]!];
  };
  return {
    put(at: number, happen: () => void): void {
      let i = heap.push({ at, order: count++, happen }) - 1;
      for (let up = (i - 1) >> 1; i > 0 && before(heap[i]!, heap[up]!); i = up, up = (i - 1) >> 1) swap(i, up);
    },
    take(): Happening | undefined {
      const first = heap[0];
      const last = heap.pop();
      if (first === undefined || last === undefined || heap.length === 0) return first;
      heap[0] = last;
      for (let i = 0; ; ) {
        const [left, right] = [2 * i + 1, 2 * i + 2];
        const child = heap[right] !== undefined && before(heap[right]!, heap[left]!) ? right : left;
        if (heap[child] === undefined || !before(heap[child]!, heap[i]!)) return first;
        swap(i, child);
        i = child;
      }
    },
  };
}

/** Where a play stands. */
interface Stage {
  readonly agenda: ReturnType<typeof createAgenda>;
  readonly network: NetworkProfile | undefined;
  readonly machine: MachineRates;
  /** When each party has done what it has taken on. */
  readonly idleAt: Record<Role, number>;
  readonly lineFree: Map<Link, number>;
  readonly arrived: Set<string>;
  readonly waiting: Map<string, () => void>;
  now: number;
}

function work(stage: Stage, role: Role, time: number, then: () => void): void {
  if (time === 0) {
    then();
    return;
  }
  stage.idleAt[role] = Math.max(stage.now, stage.idleAt[role]) + time;
  stage.agenda.put(stage.idleAt[role], then);
}

const messageKey = (task: Task, { link, name }: MessageSize): string => `${task.name} ${link} ${name}`;

function send(stage: Stage, task: Task, message: MessageSize): void {
  const { network, machine, lineFree, arrived, waiting } = stage;
  const [from, to] = message.link.split('>') as [Role, Role];
  const speed = network === undefined ? undefined : linkSpeed(network, from, to);
  const bytes = onWire(message);
  const left = Math.max(stage.now, lineFree.get(message.link) ?? 0) + (speed === undefined ? 0 : bytes / speed.bytesPerSecond);
  lineFree.set(message.link, left);
  const delay = (speed?.roundTripSeconds ?? 0) / 2 + machine.message.seconds + bytes * machine.message.secondsPerByte;
  const key = messageKey(task, message);
  stage.agenda.put(left + delay, () => {
    arrived.add(key);
    waiting.get(key)?.();
  });
}

function receive({ arrived, waiting }: Stage, task: Task, message: MessageSize, then: () => void): void {
  const key = messageKey(task, message);
  if (arrived.has(key)) then();
  else waiting.set(key, then);
}

/** A party's part of a task. Its work is spread evenly over what comes before, between and after its messages. */
function playTask(stage: Stage, task: Task, role: Role, done: () => void): void {
  const own = movesOf(task.messages, role);
  const share = task.work[role] / (own.length + 1);
  const go = (index: number): void => {
    const message = own[index];
    work(stage, role, share, () => {
      if (message === undefined) done();
      else if (message.link.startsWith(role)) {
        send(stage, task, message);
        go(index + 1);
      } else receive(stage, task, message, () => go(index + 1));
    });
  };
  go(0);
}

/** Plays tasks through; returns when the client has done its last. */
function play(tasks: readonly Task[], network: NetworkProfile | undefined, machine: MachineRates): number {
  const stage: Stage = {
    agenda: createAgenda(),
    network,
    machine,
    idleAt: { client: 0, server: 0, provider: 0 },
    lineFree: new Map(),
    arrived: new Set(),
    waiting: new Map(),
    now: 0,
  };
  const open = new Map<string, number>();
  const followers = new Map<string, Task[]>();
  let clientDone = 0;
  const run = (task: Task, role: Role): void =>
    playTask(stage, task, role, () => {
      if (role === 'client') clientDone = Math.max(clientDone, stage.now);
      for (const next of followers.get(task.name) ?? []) {
        const key = `${next.name} ${role}`;
        const left = (open.get(key) ?? Number.NaN) - 1;
        open.set(key, left);
        if (left === 0) run(next, role);
      }
    });
  for (const task of tasks) {
    for (const name of task.after) followers.set(name, [...(followers.get(name) ?? []), task]);
    for (const role of task.roles) open.set(`${task.name} ${role}`, task.after.length);
    if (task.after.length === 0) for (const role of task.roles) stage.agenda.put(0, () => run(task, role));
  }
  for (let next = stage.agenda.take(); next !== undefined; next = stage.agenda.take()) {
    stage.now = next.at;
    next.happen();
  }
  return clientDone;
}

/**
 * Seconds of an inference, as the client's clock would count them: offline from its request until all material is there, online from its picture
 * to its result. All parties' machines have the same rates; inferences that overlap others take longer.
 */
export function predictSeconds(
  program: Program,
  suite: Suite,
  batch: number,
  network: NetworkProfile | undefined,
  machine: MachineRates,
): Readonly<Record<RunPhase, number>> {
  const phase = (name: RunPhase) => play(tasksOf(program, suite, batch, name, machine), network, machine);
  return { offline: phase('offline'), online: phase('online') };
}
