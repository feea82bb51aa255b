// A full disk under the data folder: a small file system of the test's own.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Instance, Workload } from '@skerry/model';
import { expect, test } from 'vitest';
import { skerry as cli, type Program, ROOT, startProgram } from '../support/program.ts';

const manifest = (name: string) =>
  JSON.stringify({
    apiVersion: 'skerry/v1',
    kind: 'Workload',
    metadata: { name, annotations: { filler: 'x'.repeat(100_000) } },
    spec: {
      runtime: 'container',
      image: 'hello:1',
      replicas: name === 'good' ? 1 : 0,
      resources: { memory: '16MiB' },
      ports: [{ name: 'http', port: 8080 }],
    },
  });

test('a full disk is told, nothing is half done, guests go on, and all works again when there is room', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'skerry-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', folder]);
  let skerry: Program | undefined;
  try {
    skerry = await startProgram({ parent: folder });
    const { dataDir } = skerry;
    const apply = (name: string, ...more: string[]) =>
      cli(['apply', '-f', '-', ...more], { env: { SKERRY_DATA: dataDir }, input: manifest(name) });
    const hello = join(ROOT, 'guests/hello/build/hello.tar');
    await skerry.run('image', 'import', hello);
    expect(await apply('good', '--wait')).toMatchObject({ code: 0 });
    const [good] = await skerry.json<Instance[]>('workload', 'instances', 'good');
    const ballast = join(folder, 'ballast');
    const { bavail, bsize } = statfsSync(folder);
    writeFileSync(ballast, Buffer.alloc(Math.max(0, bavail * bsize - 300_000)));

    const imported = await skerry.try('image', 'import', hello, '--name', 'second:1');
    expect(imported.code).toBe(1);
    expect(imported.stderr).toMatch(/disk_full|store_full/);
    const acknowledged: string[] = [];
    let refused = '';
    for (let i = 0; i < 60 && !refused; i++) {
      const ran = await apply(`filler-${i}`);
      if (ran.code === 0) acknowledged.push(`filler-${i}`);
      else refused = ran.stderr;
    }
    expect(refused).toMatch(/store_full|disk_full/);
    expect(await (await fetch(`http://${good!.spec.network!.address}:8080/healthz`)).text()).toBe('ok\n');

    rmSync(ballast);
    expect(await apply('after')).toMatchObject({ code: 0 });
    const names = (await skerry.json<Workload[]>('workload', 'list')).map((one) => one.metadata.name);
    expect(names.sort()).toEqual(['after', 'good', ...acknowledged].sort());
    const [still] = await skerry.json<Instance[]>('workload', 'instances', 'good');
    expect(still!.status.pid).toBe(good!.status.pid);
    await skerry.run('image', 'import', hello, '--name', 'second:1');
  } finally {
    const left = await skerry?.purge();
    execFileSync('umount', [folder]);
    rmSync(folder, { recursive: true, force: true });
    expect(left ?? []).toEqual([]);
  }
}, 120_000);
