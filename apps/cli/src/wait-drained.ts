/** Waits until a node that is drained has only instances that can be nowhere else. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@skerry/contract';
import { SkerryError } from '@skerry/model';

const LOOK_MS = 250;

/** Returns why those stay that do, a sentence each. Errors: not_in_time after the limit. */
export async function waitForDrained(client: Client, node: string, limitMs: number): Promise<string[]> {
  const until = performance.now() + limitMs;
  for (;;) {
    const { left, stay } = await look(client, node);
    if (left === stay.length) return stay;
    if (performance.now() > until)
      throw new SkerryError('not_in_time', `${node} has ${left} instances still after ${limitMs / 1000} s`);
    await pause(LOOK_MS);
  }
}

async function look(client: Client, node: string): Promise<{ left: number; stay: string[] }> {
  let left = 0;
  const stay: string[] = [];
  for (const { metadata } of (await client.project.list()).items) {
    const project = metadata.name;
    const own = (await client.instance.list({ project })).items.filter(({ spec }) => spec.node === node);
    if (own.length === 0) continue;
    left += own.length;
    const { items } = await client.workload.list({ project });
    for (const { spec, metadata: instance } of own) {
      const { status } = items.find((one) => one.metadata.name === spec.workload) ?? {};
      if (status?.reason?.includes(`stays on ${node}`)) stay.push(`${instance.name}: ${status.reason}`);
    }
  }
  return { left, stay };
}
