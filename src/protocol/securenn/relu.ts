// Block ReLU with truncation (and ReLU6) on shares: rectify.ts on the compared elements, then truncation (truncate.ts). Identity channels are
// truncated alone; zero channels are 0: neither costs a comparison or an opening.
//
// The roles' messages, formulas and simulators are those of rectify.ts and truncate.ts.
import type { Words } from '../../kernel/compute.js';
import type { ReluStep } from '../../model/program.js';
import { isLong, ringWords, runWords, setWords } from '../../ring/words.js';
import { type PatchLayout, patchCounts, patchLayout } from '../masked/layout.js';
import type { CostEnvironment, MessageSize, Operation, StepContext } from '../operation.js';
import { rounds } from './drelu.js';
import * as drelu from './drelu.js';
import { type Party } from './privatecompare.js';
import * as rectify from './rectify.js';
import type { Truncation, TruncationMaterial } from './truncate.js';
