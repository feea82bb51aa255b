import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findEngines } from './find-engines.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-engines-'));
const sockets = { docker: join(folder, 'docker.sock'), podman: join(folder, 'podman.sock') };
const signal = AbortSignal.timeout(30_000);
const servers: ReturnType<typeof createServer>[] = [];
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
});

/** What an engine says of itself; without words, one that takes connections and never answers. */
async function engine(socket: string, version?: string, component?: string): Promise<void> {
  const server = createServer((request, response) => {
    if (version === undefined) return;
    response.setHeader('content-type', 'application/json');
    const info = { ServerVersion: version, CgroupDriver: 'cgroupfs', Driver: 'overlay2' };
    const about = { Components: [{ Name: component }] };
    response.end(JSON.stringify(request.url?.endsWith('/version') ? about : info));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
}

test('an engine that is not there is no fault, and how to have it is told', async () => {
  const [docker, podman] = await findEngines(signal, sockets);
  expect(docker).toMatchObject({ name: 'container.docker', level: 'ok', remedy: expect.any(String) });
  expect(podman).toMatchObject({ name: 'container.podman', level: 'ok', remedy: expect.any(String) });
});

test('an engine that answers is named with its version and with how to choose it', async () => {
  await engine(sockets.docker, '24.0.5', 'Engine');
  const [docker] = await findEngines(signal, sockets);
  expect(docker).toMatchObject({
    text: expect.stringContaining('Docker 24.0.5 answers'),
    remedy: expect.stringContaining('--engine docker'),
  });
});

test('one that takes connections and says nothing is given up in time', async () => {
  await engine(sockets.podman);
  const [, podman] = await findEngines(signal, sockets);
  expect(podman!.text).toMatch(/does not answer|not installed/);
});

test('Podman at the socket of Docker is told as what it is', async () => {
  const at = { docker: join(folder, 'both.sock'), podman: join(folder, 'none.sock') };
  await engine(at.docker, '4.3.1', 'Podman Engine');
  const [docker] = await findEngines(signal, at);
  expect(docker!.text).toContain('Podman 4.3.1 answers');
});
