/** The types of answers that are no resources. Nothing of it exists at run time. */
import type { Static } from 'typebox';
import type * as A from './answers.ts';

export type ApplyResult = Static<typeof A.ApplyResult>;
export type Applied = Static<typeof A.Applied>;
export type Latency = Static<typeof A.Latency>;
export type Rebalance = Static<typeof A.Rebalance>;
export type PlacementExplanation = Static<typeof A.PlacementExplanation>;
export type Step = Static<typeof A.Step>;
export type ControllerStatus = Static<typeof A.Status>;
export type DoctorReport = Static<typeof A.Doctor>;
export type FunctionRequest = Static<typeof A.FunctionRequest>;
export type PullRequest = Static<typeof A.PullRequest>;
