// The suite of the runtime port over a real Podman service: the same file as for Docker.
import { runtimeConformance } from '../conformance.ts';
import { makeDockerBed } from './testing/bed.ts';
import { startPodman } from './testing/podman.ts';

runtimeConformance('container (Podman)', () => makeDockerBed(startPodman));
