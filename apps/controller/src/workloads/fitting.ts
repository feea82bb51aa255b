/** Words of a manifest that the schema takes one by one but that do not go together. Pure. */
import type { RuntimeKind, WorkloadSpec } from '@skerry/model';
import { isMap, parseDocument } from 'yaml';

export interface Misfit {
  readonly field: string;
  readonly message: string;
}

/** Fields that only one runtime has. */
const OWN: readonly (readonly [field: 'vm' | 'system' | 'display', runtime: RuntimeKind])[] = [
  ['vm', 'vm'],
  ['display', 'vm'],
  ['system', 'system'],
];

export function misfitsOf(spec: WorkloadSpec): Misfit[] {
  const misfits: Misfit[] = OWN.flatMap(([field, runtime]) =>
    spec[field] === undefined || spec[field] === false || spec.runtime === runtime
      ? []
      : [
          {
            field: `spec.${field}`,
            message: `only the runtime ${runtime} has it, and this is ${spec.runtime}`,
          },
        ],
  );
  const { vm } = spec;
  if (vm?.secureBoot && vm.firmware === 'bios')
    misfits.push({
      field: 'spec.vm.secureBoot',
      message: 'a BIOS has no secure boot: firmware must be uefi',
    });
  if (spec.runtime === 'vm' && spec.command)
    misfits.push({
      field: 'spec.command',
      message: 'a virtual machine starts what its disk has; use spec.vm.cloudInit to have it run something',
    });
  const { userData, networkConfig } = vm?.cloudInit ?? {};
  if (userData?.startsWith('#cloud-config')) misfits.push(...notYaml('spec.vm.cloudInit.userData', userData));
  if (networkConfig !== undefined) misfits.push(...notYaml('spec.vm.cloudInit.networkConfig', networkConfig));
  return misfits;
}

/** What cloud-init would only tell on the guest's console, if anybody looked. The text itself is not repeated: it may be secret. */
function notYaml(field: string, text: string): Misfit[] {
  const { errors, contents } = parseDocument(text, { logLevel: 'silent' });
  const [first] = errors;
  if (first) {
    const line = first.linePos?.[0]?.line;
    const at = line === undefined ? '' : ` in its line ${line}`;
    return [{ field, message: `is not YAML${at}: ${first.code.toLowerCase().replaceAll('_', ' ')}` }];
  }
  return contents === null || isMap(contents) ? [] : [{ field, message: 'is not a set of keys with values' }];
}
