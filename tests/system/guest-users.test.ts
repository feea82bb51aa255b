// Guests that are not root on the node, through the program itself: its own file modes must not shut them out.
import { join } from 'node:path';
import type { Instance } from '@skerry/model';
import { expect, test } from 'vitest';
import { ROOT, skerry, startProgram } from '../support/program.ts';

const workload = (name: string, more: string) => `
apiVersion: skerry/v1
kind: Workload
metadata: { name: ${name} }
spec: { runtime: container, image: "hello:1", resources: { memory: 32MiB, disk: 16MiB }, stopGrace: 1s, ${more} }
---`;

test('an ordinary user finds root, volume and resolv.conf open; a mapped root runs', async () => {
  const program = await startProgram();
  try {
    await program.run('image', 'import', join(ROOT, 'guests/hello/build/hello.tar'));
    const manifest = [
      'apiVersion: skerry/v1\nkind: Volume\nmetadata: { name: pages }\nspec: { size: 16MiB }\n---',
      workload(
        'plain',
        'security: { user: "1000:1000" }, volumes: [{ name: pages, mount: /pages, readOnly: true }]',
      ),
      workload('mapped', 'security: { userNamespace: true }'),
    ].join('');
    const applied = await skerry(['apply', '-f', '-', '--wait', '--timeout', '30s'], {
      env: { SKERRY_DATA: program.dataDir, SKERRY_SERVER: '' },
      input: manifest,
    });
    expect(applied.stderr).not.toContain('[');
    expect(applied.code).toBe(0);
    const inside = await program.run(
      'workload',
      'exec',
      'plain',
      '--',
      'sh',
      '-c',
      'id -u; ls -d /var/www; ls -d /pages/.; grep -c nameserver /etc/resolv.conf',
    );
    expect(inside.trim().split('\n')).toEqual(['1000', '/var/www', '/pages/.', '1']);
    const [mapped] = await program.json<Instance[]>('workload', 'instances', 'mapped');
    expect(mapped!.status.phase).toBe('running');
    expect((await fetch(`http://${mapped!.spec.network!.address}:8080/healthz`)).ok).toBe(true);
  } finally {
    expect(await program.purge()).toEqual([]);
  }
});
