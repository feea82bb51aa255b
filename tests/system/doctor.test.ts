// `skerry doctor`: before anything runs, with programs hidden, and right after the program was started.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ProbeFinding } from '@skerry/model';
import { afterAll, describe, expect, test } from 'vitest';
import { ROOT, startProgram } from '../support/program.ts';

const folder = mkdtempSync(join(tmpdir(), 'skerry-doctor-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Told {
  readonly findings: readonly ProbeFinding[];
  readonly code: number;
}

/** In a mount namespace of its own where these programs, or all of these folders, are not there. */
const HIDE = `set -e
mount -t tmpfs none "$1"
for folder in /usr/bin /usr/sbin; do
  over="$1/$(basename "$folder")"
  mkdir -p "$over/upper" "$over/work"
  for name in $2; do
    if [ -e "$folder/$name" ]; then mknod "$over/upper/$name" c 0 0; fi
  done
  mount -t overlay none -o "lowerdir=$folder,upperdir=$over/upper,workdir=$over/work" "$folder"
done
for empty in $3; do mount -t tmpfs none "$empty"; done
exec "$4" doctor --output json`;

async function doctor(hidden: readonly string[] = [], emptied: readonly string[] = []): Promise<Told> {
  const over = mkdtempSync(join(folder, 'over-'));
  const args = ['-m', '/bin/bash', '-c', HIDE, 'hide', over, hidden.join(' '), emptied.join(' ')];
  const env = { ...process.env, SKERRY_DATA: join(folder, 'data'), SKERRY_SERVER: '' };
  const run = promisify(execFile);
  const ran = await run('unshare', [...args, join(ROOT, 'bin/skerry')], { env, timeout: 60_000 }).then(
    ({ stdout }) => ({ stdout, code: 0 }),
    (error: { code: number; stdout: string; stderr: string }) => {
      if (!error.stdout) throw new Error(`doctor said nothing: ${error.stderr}`);
      return error;
    },
  );
  const [node] = JSON.parse(ran.stdout) as { findings: ProbeFinding[] }[];
  return { findings: node!.findings, code: ran.code };
}

describe('while Skerry does not run', () => {
  test('every kind of guest has its findings, and nothing is left of having looked', async () => {
    const { findings, code } = await doctor();
    const names = findings.map(({ name }) => name);
    for (const kind of ['container', 'system', 'unikernel', 'vm'])
      expect(findings.find(({ name }) => name === kind)).toMatchObject({ level: 'ok' });
    expect(names).toEqual(
      expect.arrayContaining([
        ...['container.overlay', 'container.docker', 'container.podman', 'system.userNamespace'],
        ...['unikernel.acceleration', 'unikernel.unikraft', 'unikernel.solo5', 'unikernel.osv'],
        ...['vm.acceleration', 'vm.uefi', 'vm.tpm', 'vm.arm64'],
        ...['network.shaping', 'network.netem', 'network.overlay', 'network.wireguard'],
      ]),
    );
    expect(new Set(names).size).toBe(names.length);
    expect(code).toBe(0);
    expect(readdirSync(folder).filter((name) => !name.startsWith('over-'))).toEqual([]);
  });

  test.each([
    ['lxc-start', 'system', /apt-get install .*lxc/],
    ['swtpm', 'vm.tpm', /apt-get install .*swtpm/],
    ['qemu-img', 'vm', /apt-get install .*qemu-utils/],
    ['xorriso', 'vm', /apt-get install .*xorriso/],
    ['qemu-system-x86_64', 'unikernel', /apt-get install .*qemu-system-x86/],
    ['qemu-system-aarch64', 'vm.arm64', /apt-get install .*qemu-system-arm/],
    ['containerd', 'container', /apt-get install .*containerd/],
    ['runc', 'container', /apt-get install .*runc/],
    ['nft', 'machine.programs.nft', /apt-get install .*nftables/],
    ['ip', 'machine.programs.ip', /apt-get install .*iproute2/],
  ])('without %s the finding %s names the package', async (program, name, remedy) => {
    const { findings, code } = await doctor([program]);
    expect(findings.find((finding) => finding.name === name)).toMatchObject({
      level: 'missing',
      text: expect.stringContaining(program),
      remedy: expect.stringMatching(remedy),
    });
    expect(code).toBe(1);
  });

  test('without firmware of UEFI, machines that need it are told so, and which package has it', async () => {
    const { findings } = await doctor([], ['/usr/share/OVMF', '/usr/share/AAVMF']);
    const remedyOf = (name: string) => findings.find((finding) => finding.name === name)?.remedy;
    expect(remedyOf('vm.uefi')).toMatch(/apt-get install .*ovmf/);
    expect(remedyOf('vm.arm64')).toMatch(/apt-get install .*qemu-efi-aarch64/);
  });

  test('engines that are not needed and not there are no fault', async () => {
    const { findings, code } = await doctor(['dockerd', 'podman']);
    for (const name of ['container.docker', 'container.podman'])
      expect(findings.find((finding) => finding.name === name)).toMatchObject({ level: 'ok' });
    expect(code).toBe(0);
  });
});

test('the first command after `up --detach` finds the node, and doctor tells of machine and guests', async () => {
  const skerry = await startProgram({ args: ['--listen', '127.0.0.1:0'] });
  try {
    const nodes = await skerry.json<{ status: { phase: string } }[]>('node', 'list');
    expect(nodes.map(({ status }) => status.phase)).toEqual(['ready']);
    const told = await skerry.run('doctor');
    expect(told).toMatch(/^local\nok {3}machine\.root/);
    expect(told).toMatch(/network\.bridge.*container {2}.*unikernel {2}.*system {2}.*vm {2}/s);
  } finally {
    expect(await skerry.purge()).toEqual([]);
  }
});
