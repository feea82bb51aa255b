// The suite of the runtime port over a real dockerd, each guest with an interface that is handed over to it.
import { runtimeConformance } from '../conformance.ts';
import { makeDockerBed } from './testing/bed.ts';

runtimeConformance('container (Docker)', makeDockerBed);
