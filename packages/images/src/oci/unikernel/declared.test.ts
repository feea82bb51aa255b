// What documents declare comes from strangers: whatever stands in them, it is understood or refused.
import { SkerryError } from '@skerry/model';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ImageConfig, parseConfig, parseDocument, parseIndex, parseManifest } from '../documents.ts';
import { declaredByKraft, declaredByRunh, declaredByUrunc } from './declared.ts';

const CONFIG: ImageConfig = { architecture: 'amd64', os: 'linux', diffIds: [], config: { cmd: ['/app'] } };
const KEYS = ['unikernelType', 'binary', 'initrd', 'cmdline', 'block', 'hypervisor', 'unikernelVersion'];
const seed = Date.now() & 0x7fffffff;
console.info(`declared fuzzing: seed ${seed}`);

const attempt = (task: () => unknown) => {
  try {
    task();
  } catch (error) {
    if (!(error instanceof SkerryError)) throw error;
  }
};

test('an ordinary container image declares no unikernel', () => {
  expect(declaredByKraft(CONFIG, {}, [{}])).toBeUndefined();
  expect(declaredByUrunc(CONFIG, {}, undefined)).toBeUndefined();
  expect(declaredByRunh(CONFIG, undefined)).toBeUndefined();
});

test('paths stay below the root, whatever they begin with', () => {
  const texts = { 'com.urunc.unikernel.unikernelType': 'linux', 'com.urunc.unikernel.binary': '///kernel' };
  expect(declaredByUrunc(CONFIG, texts, undefined)).toMatchObject({ kernel: 'kernel', family: 'linux' });
});

test('annotations and /urunc.json of any content', () => {
  const key = fc.constantFrom(...KEYS.map((name) => `com.urunc.unikernel.${name}`));
  const value = fc.oneof(fc.string(), fc.jsonValue());
  const texts = fc.dictionary(key, fc.string());
  const file = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.dictionary(key, value).map((json) => Buffer.from(JSON.stringify(json))),
  );
  fc.assert(
    fc.property(texts, fc.option(file), (annotations, content) => {
      attempt(() => declaredByUrunc(CONFIG, annotations, content ?? undefined));
      attempt(() => declaredByKraft({ ...CONFIG, os: 'qemu' }, annotations, [{ annotations }, {}]));
    }),
    { seed, numRuns: 3000 },
  );
});

test('manifests, indexes and configs of any content', () => {
  const names = [
    'manifests',
    'layers',
    'config',
    'annotations',
    'platform',
    'digest',
    'size',
    'os',
    'rootfs',
    'Cmd',
    'Env',
  ];
  const tree = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: 'small' },
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie('node'), { maxLength: 4 }),
      fc.dictionary(fc.constantFrom(...names), tie('node'), { maxKeys: 5 }),
    ),
  })).node;
  fc.assert(
    fc.property(tree, (value) => {
      const text = JSON.stringify(value);
      for (const parse of [parseManifest, parseIndex, parseConfig])
        attempt(() => parse(parseDocument(text, 'the document')));
    }),
    { seed, numRuns: 3000 },
  );
});
