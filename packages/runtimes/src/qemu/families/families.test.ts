// Kernels of each family on real QEMU: each prints what it was told and which devices it found, and ends in its family's way.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Bytes, GuestExit, SkerryError } from '@skerry/model';
import {
  archiveEntries,
  eventually,
  libinfo,
  noteOf,
  solo5Notes,
  tarOf,
  testImage,
  UNIKERNEL_FILES,
  xenGuestOs,
} from '@skerry/testkit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GuestSpec, Runtime } from '../../port.ts';
import { arm64Kernel } from '../testing/arm64-kernel.ts';
import { makeQemuBed, type QemuBed } from '../testing/bed.ts';
import { grubKernel, hasGrub } from '../testing/grub.ts';
import { findLinuxKernel, initramfs } from '../testing/initramfs.ts';
import { type ReporterSpec, reporterKernel } from '../testing/reporter.ts';
import { netmask } from './told.ts';

const signal = AbortSignal.timeout(300_000);
let bed: QemuBed;
let runtime: Runtime;
beforeAll(async () => {
  bed = await makeQemuBed();
  runtime = bed.open();
  await runtime.start(signal);
}, 60_000);
afterAll(async () => {
  await runtime?.destroy(signal);
  await runtime?.stop();
  expect(await bed?.close()).toEqual([]);
});

const ended = (spec: GuestSpec): Promise<GuestExit> =>
  new Promise((resolve, reject) => {
    const stop = AbortSignal.timeout(30_000);
    const look = async () => {
      for await (const event of runtime.events(stop))
        if (event.type === 'exited' && event.uid === spec.uid) return event.exit;
      throw new Error('it did not end');
    };
    look().then(resolve, reject);
  });

async function linesOf(spec: GuestSpec): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of runtime.logs(spec.uid, { follow: false }, signal)) lines.push(line.text);
  return lines;
}

/** Runs it to its end; returns what it printed and how it ended. Nothing is left of it. */
async function run(spec: GuestSpec): Promise<{ lines: string[]; exit: GuestExit }> {
  try {
    await runtime.apply({ do: 'create', spec }, signal);
    const end = ended(spec);
    end.catch(() => undefined);
    const state = await runtime.apply({ do: 'start', uid: spec.uid }, signal);
    const exit = state.state === 'exited' ? state.exit : await end;
    return { lines: await linesOf(spec), exit };
  } finally {
    await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
    expect(await bed.leftovers(spec.uid)).toEqual([]);
  }
}

const refusal = async (spec: GuestSpec): Promise<string> => {
  const said = await run(spec).catch((error: SkerryError) => `${error.code}: ${error.message}`);
  return typeof said === 'string' ? said : `it ran: ${said.exit.message}`;
};

const kernel = (changes: Partial<ReporterSpec> = {}) =>
  reporterKernel({ boot: 'multiboot', end: { port: 0x501, value: 41 }, ...changes });
const unikraft = (libraries: readonly string[], changes: Partial<ReporterSpec> = {}) =>
  kernel({ sections: { '.uk_libinfo': libinfo(libraries) }, ...changes });
/** What the kernel was told, without the name of its file, which QEMU puts before it for multiboot. */
const told = (lines: readonly string[]) =>
  lines
    .find((line) => line.startsWith('told: '))
    ?.replace(/^told: (?:\/proc\/self\/fd\/7 ?)?/, '')
    .trim();
const devices = (lines: readonly string[]) => lines.filter((line) => /^(?:pci|mmio) /.test(line));
const hex = (value: number) => value.toString(16).padStart(8, '0');
const NET = expect.stringMatching(/ device 1000$/);

describe('Unikraft', () => {
  test('is told its address, its variables and its words, and has a network device', async () => {
    const spec = await bed.fileSpec(unikraft(['libvirtio_net']), {
      ...{ command: ['/app', 'two words'], env: { MODE: 'edge' } },
    });
    const { lines, exit } = await run(spec);
    const { address, prefixLength, gateway, dns } = spec.network!;
    expect(told(lines)).toBe(
      `netdev.ip=${address}/${prefixLength}:${gateway}:${dns} env.vars=[ MODE=edge ] -- /app "two words"`,
    );
    expect(devices(lines)).toEqual([NET]);
    expect(exit).toMatchObject({ reason: 'completed', code: 0 });
  });

  test('a crash is a panic, with its last words', async () => {
    const crashing = { words: 'CRIT: page fault', end: { port: 0x501, value: 42 } };
    const { exit } = await run(await bed.fileSpec(unikraft(['libvirtio_net'], crashing)));
    expect(exit).toMatchObject({ reason: 'panic', message: expect.stringContaining('page fault') });
  });

  test('without a driver it gets no network device, and no ports', async () => {
    const file = unikraft(['libukboot']);
    const { lines } = await run(await bed.fileSpec(file, { ports: [] }));
    expect(devices(lines)).toEqual([]);
    expect(await refusal(await bed.fileSpec(file))).toMatch(/^unsupported: .* no driver for a network/);
  });

  test('one that draws chance from the processor starts exactly where the processor has the instruction', async () => {
    const hasRdseed = (() => {
      const machine = ['-M', 'microvm', '-accel', 'tcg', '-display', 'none', '-monitor', 'stdio'];
      try {
        execFileSync('/usr/bin/qemu-system-x86_64', [...machine, '-cpu', 'max,+rdseed,enforce'], {
          ...{ input: 'quit\n', timeout: 10_000, stdio: ['pipe', 'ignore', 'ignore'] },
        });
        return true;
      } catch {
        return false;
      }
    })();
    const findings = await runtime.probe(signal);
    const emulates = findings.some(({ name, level }) => name === 'unikernel.acceleration' && level !== 'ok');
    const said = await refusal(await bed.fileSpec(unikraft(['libvirtio_net', 'libukrandom'])));
    if (emulates && !hasRdseed) expect(said).toMatch(/^unsupported: .*instruction RDSEED/);
    else expect(said).toMatch(/^it ran/);
  });

  test('a build for Firecracker is in the store and says why it does not start', async () => {
    const spec = await bed.fileSpec(UNIKERNEL_FILES['Unikraft for Firecracker']!());
    expect(await refusal(spec)).toMatch(/^unsupported: .*Firecracker/);
  });
});

describe('Solo5 for virtio', () => {
  const solo5 = (words: string, list: Parameters<typeof solo5Notes>[1]) =>
    kernel({
      ...{ boot: 'multiboot-with-addresses', wide: true, words },
      sections: Object.fromEntries(
        solo5Notes('virtio', list).map((note, i) => [`.note.solo5.${i}`, noteOf(note)]),
      ),
    });

  test('finds its devices in the slots of its manifest, and its exit code is in its words', async () => {
    const file = solo5('Solo5: solo5_exit(3) called', [
      { name: 'storage', type: 'block' },
      { name: 'service', type: 'net' },
      { name: 'cache', type: 'block' },
    ]);
    const spec = await bed.fileSpec(file, { args: ['-l', '*:debug'], diskBytes: (1024 * 1024) as Bytes });
    const { lines, exit } = await run(spec);
    const { address, prefixLength, gateway } = spec.network!;
    expect(told(lines)).toBe(`--ipv4=${address}/${prefixLength} --ipv4-gateway=${gateway} -l *:debug`);
    expect(devices(lines)).toEqual([
      'pci slot 02 device 1001',
      'pci slot 03 device 1000',
      'pci slot 04 device 1001',
    ]);
    expect(exit).toMatchObject({ reason: 'error', code: 3 });
  });

  test('an abort is a panic although its status is the same', async () => {
    const file = solo5('Solo5: ABORT: main.c:1: no', [{ name: 'service', type: 'net' }]);
    expect((await run(await bed.fileSpec(file))).exit).toMatchObject({ reason: 'panic' });
  });

  test('what its manifest asks for and the guest has not is said', async () => {
    const block = solo5('x', [{ name: 'storage', type: 'block' }]);
    expect(await refusal(await bed.fileSpec(block, { ports: [] }))).toMatch(
      /^unsupported: .*storage.*resources.disk/,
    );
    const two = solo5('x', [
      { name: 'inside', type: 'net' },
      { name: 'outside', type: 'net' },
    ]);
    expect(await refusal(await bed.fileSpec(two))).toMatch(/^unsupported: .*2 networks \(inside, outside\)/);
  });
});

describe('others', () => {
  test('a kernel of no family that boots by PVH: on microvm, with its words alone', async () => {
    const file = kernel({ boot: 'pvh', end: { port: 0x501, value: 5 }, words: 'no luck' });
    const { lines, exit } = await run(await bed.fileSpec(file, { args: ['a', 'b'] }));
    expect(told(lines)).toMatch(/^a b virtio_mmio\.device=/);
    expect(devices(lines)).toEqual(['mmio device 01 version 2']);
    expect(exit).toMatchObject({ reason: 'error', code: 5, message: expect.stringContaining('no luck') });
  });

  test('OSv by its loader: address and program, powered off', async () => {
    const file = kernel({
      boot: 'pvh',
      end: 'power-off',
      sections: { '.note.osv': noteOf(xenGuestOs('osv')) },
    });
    const spec = await bed.fileSpec(file, { command: ['/tools/hello.so'], env: { A: 'b' } });
    const { lines, exit } = await run(spec);
    const { address, gateway, dns, prefixLength } = spec.network!;
    expect(told(lines)).toBe(
      `--ip=eth0,${address},${netmask(prefixLength)} --defaultgw=${gateway} --nameserver=${dns} --power-off-on-abort --env=A=b /tools/hello.so`,
    );
    expect(devices(lines)).toContainEqual(NET);
    expect(exit).toMatchObject({ reason: 'completed' });
  });

  const memtest = '/boot/memtest86+x64.bin';
  test.skipIf(!existsSync(memtest))(
    'a kernel with the Linux boot header runs (skipped where the package memtest86+ is not installed)',
    async () => {
      const spec = await bed.fileSpec(readFileSync(memtest), { memoryBytes: (64 * 1024 * 1024) as Bytes });
      try {
        await runtime.apply({ do: 'create', spec }, signal);
        await runtime.apply({ do: 'start', uid: spec.uid }, signal);
        const limit = AbortSignal.timeout(20_000);
        let seen = '';
        const console = await runtime.console!.open(spec.uid, limit);
        for await (const data of console.output) {
          seen += Buffer.from(data).toString('latin1');
          if (seen.includes('Memtest86+')) break;
        }
        expect(seen).toContain('Memtest86+');
        expect(await bed.images.facts(spec.imageDigest)).toMatchObject({
          facts: { family: 'linux', boot: 'linux', version: expect.stringContaining('Memtest86+') },
        });
      } finally {
        await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
        expect(await bed.leftovers(spec.uid)).toEqual([]);
      }
    },
  );

  test.skipIf(!hasGrub())(
    "GRUB's shell answers on its console and powers off (skipped where grub-pc-bin is not installed)",
    async () => {
      const spec = await bed.fileSpec(grubKernel('hello from a boot loader'), {
        memoryBytes: (32 * 1024 * 1024) as Bytes,
      });
      try {
        await runtime.apply({ do: 'create', spec }, signal);
        const end = ended(spec);
        end.catch(() => undefined);
        await runtime.apply({ do: 'start', uid: spec.uid }, signal);
        const console = await runtime.console!.open(spec.uid, AbortSignal.timeout(20_000));
        let seen = '';
        const reading = (async () => {
          for await (const data of console.output) seen += Buffer.from(data).toString('latin1');
        })();
        await eventually('the prompt', () => seen.includes('grub> '));
        await console.write(Buffer.from('halt\r'));
        expect(await end).toMatchObject({ reason: 'completed' });
        await reading;
        expect((await linesOf(spec)).join('\n')).toContain('hello from a boot loader');
      } finally {
        await runtime.apply({ do: 'remove', uid: spec.uid }, signal);
        expect(await bed.leftovers(spec.uid)).toEqual([]);
      }
    },
  );

  test('a kernel with the note of the own family is told the words of pebble', async () => {
    const note = noteOf({ owner: 'Skerry', type: 1, descriptor: Buffer.from('pebble\0') });
    const file = kernel({ boot: 'pvh', end: { port: 0x501, value: 0 }, sections: { '.note.skerry': note } });
    const spec = await bed.fileSpec(file, { env: { A: 'two words' } });
    const { lines, exit } = await run(spec);
    const { address, prefixLength, gateway } = spec.network!;
    expect(told(lines)).toMatch(
      new RegExp(
        `^ip=${address}/${prefixLength} gw=${gateway} port=8080 name=${spec.name} time=.* env.A=two%20words `,
      ),
    );
    expect(exit).toMatchObject({ reason: 'completed', code: 0 });
  });

  test.skipIf(!existsSync('/usr/bin/qemu-system-aarch64'))(
    'a kernel for arm64 is emulated (skipped where qemu-system-arm is not installed)',
    async () => {
      const { lines, exit } = await run(await bed.fileSpec(arm64Kernel('hello from arm64')));
      expect(lines).toEqual(['hello from arm64']);
      expect(exit).toMatchObject({ reason: 'completed' });
    },
  );

  const linux = findLinuxKernel();
  test.skipIf(!linux)(
    'Linux with its first file system, packed as urunc does (skipped where no kernel is at hand)',
    async () => {
      const script = `/bin/busybox mount -t proc proc /proc
echo "told: $(/bin/busybox cat /proc/cmdline)"
echo "mode: $MODE"
/bin/busybox poweroff -f`;
      const key = 'com.urunc.unikernel.';
      const urunc = { unikernelType: 'linux', hypervisor: 'qemu', binary: '/kernel', initrd: '/initrd' };
      const json = Object.entries(urunc).map(([name, text]) => [
        key + name,
        Buffer.from(text).toString('base64'),
      ]);
      const tar = await tarOf([
        { name: 'kernel', body: readFileSync(linux!) },
        { name: 'initrd', body: initramfs(script) },
        { name: 'urunc.json', body: JSON.stringify(Object.fromEntries(json)) },
      ]);
      const image = testImage([tar], { cmd: ['quiet'], env: ['MODE=edge of the world'] });
      const file = await tarOf(archiveEntries(image, 'linux:1', 'oci'));
      const spec = await bed.fileSpec(file, { memoryBytes: (128 * 1024 * 1024) as Bytes });
      const { lines, exit } = await run(spec);
      const { address, gateway } = spec.network!;
      expect(told(lines)).toMatch(
        new RegExp(
          `^console=ttyS0 panic=-1 ip=${address}::${gateway}:[0-9.]+:${spec.name}:eth0:off:[0-9.]+ .*quiet$`,
        ),
      );
      expect(lines).toContain('mode: edge of the world');
      expect(exit).toMatchObject({ reason: 'completed' });
    },
    60_000,
  );

  test("Hermit's loader gets the application beside it, and its own port to end", async () => {
    const app = UNIKERNEL_FILES['Hermit application']!();
    const tar = await tarOf([
      { name: 'hermit/hermit-loader-x86_64', body: kernel({ end: { port: 0xf4, value: 1, bytes: 4 } }) },
      { name: 'hermit/app', body: app },
    ]);
    const image = testImage([tar], { cmd: ['/hermit/app', '--port', '80'], env: ['A=b'] });
    const file = await tarOf(archiveEntries(image, 'hermit:1', 'oci'));
    const spec = await bed.fileSpec(file);
    const { lines, exit } = await run(spec);
    const { address, gateway, prefixLength } = spec.network!;
    expect(told(lines)).toBe(
      `-ip ${address} -mask ${netmask(prefixLength)} -gateway ${gateway} env=A=b -- --port 80`,
    );
    expect(lines).toContain(`beside: ${hex(app.length)} bytes,  | /proc/self/fd/8`);
    expect(devices(lines)).toEqual([expect.stringMatching(/ device 1041$/)]); // virtio 1 alone
    expect(exit).toMatchObject({ reason: 'completed', code: 0 });
  });

  test('an IncludeOS service is loaded beside its chain loader and told its words there', async () => {
    const loader = kernel({ words: 'IncludeOS chain loader', end: 'power-off' });
    const key = 'com.urunc.unikernel.';
    const annotated = { unikernelType: 'includeos', binary: '/loader', initrd: '/service', cmdline: 'a,b c' };
    const json = Object.entries(annotated).map(([name, text]) => [
      key + name,
      Buffer.from(text).toString('base64'),
    ]);
    const tar = await tarOf([
      { name: 'loader', body: loader },
      { name: 'service', body: 'the service' },
      { name: 'urunc.json', body: JSON.stringify(Object.fromEntries(json)) },
    ]);
    const file = await tarOf(archiveEntries(testImage([tar], { env: [] }), 'includeos:1', 'oci'));
    const { lines } = await run(await bed.fileSpec(file));
    expect(lines).toContain(
      `beside: ${hex('the service'.length)} bytes, the service | /proc/self/fd/8 a,b c`,
    );
    expect(told(lines)).toBe('');
  });
});
