import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { examineMachine, findProgram, PROGRAMS } from './doctor.ts';
import { bootId, diskSpace, machineFacts } from './machine.ts';
import { run } from './run.ts';

const signal = AbortSignal.timeout(20_000);
const folder = mkdtempSync(join(tmpdir(), 'skerry-machine-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const words = async (file: string, ...args: string[]) =>
  (await run(file, args, { signal, timeoutMs: 5000 })).stdout.trim();

describe('facts of the machine', () => {
  test('agree with what uname, df, free and nproc say', async () => {
    const facts = await machineFacts(folder);
    expect(facts.kernel).toBe(await words('uname', '-r'));
    const df = await words('df', '--block-size=1', '--output=size', folder);
    expect(facts.capacity.diskBytes).toBe(Number(df.split('\n')[1]));
    const total = /^Mem:\s+(\d+)/m.exec(await words('free', '-b'))?.[1];
    expect(facts.capacity.memoryBytes).toBeLessThanOrEqual(Number(total));
    expect(facts.capacity.cpus).toBeLessThanOrEqual(Number(await words('nproc', '--all')));
    expect(facts.capacity.cpus).toBeGreaterThan(0);
    expect(Date.parse(facts.bootedAt)).toBeLessThan(Date.now());
    expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('of a data folder that is not there yet are those of the folder above', () => {
    expect(diskSpace(join(folder, 'not/yet')).totalBytes).toBe(diskSpace(folder).totalBytes);
  });
});

describe('examining a machine', () => {
  test('names the package of every program that is missing, and only of these', async () => {
    const bin = join(folder, 'bin');
    await words('mkdir', bin);
    for (const { file } of PROGRAMS.slice(1)) symlinkSync('/bin/true', join(bin, file));
    writeFileSync(join(bin, PROGRAMS[0]!.file), 'not executable', { mode: 0o644 });
    const lacking = (await examineMachine(folder, signal, { path: bin })).filter((f) =>
      f.name.startsWith('machine.programs'),
    );
    expect(lacking).toEqual([
      {
        name: `machine.programs.${PROGRAMS[0]!.file}`,
        ok: false,
        level: 'missing',
        text: expect.stringContaining(PROGRAMS[0]!.for),
        remedy: `apt-get install ${PROGRAMS[0]!.package}`,
      },
    ]);
  });

  test('finds a program where the host has it', async () => {
    expect(findProgram('sh')).toMatch(/\/sh$/);
    expect(findProgram('no-such-program')).toBeUndefined();
  });

  test('says what to do about everything that is not in order', async () => {
    const findings = await examineMachine(folder, signal);
    expect(findings.map((finding) => finding.name)).toEqual(
      expect.arrayContaining([
        'machine.root',
        'machine.cgroups',
        'machine.memory',
        'machine.disk',
        'machine.kvm',
      ]),
    );
    for (const finding of findings.filter(({ level }) => level !== 'ok')) expect(finding.remedy).toBeTruthy();
  });
});
