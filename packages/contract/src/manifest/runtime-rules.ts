/** Fields of a workload that do not go together with its runtime, or with one another in a virtual machine. Pure. */
import { isInterfaceAddress, type RuntimeKind, type WorkloadSpec } from '@skerry/model';
import { flawOfNetworkConfig, flawOfUserData } from './cloud-init.ts';
import type { Refusal } from './explain.ts';

/** Fields that only one runtime has. */
const OWN: readonly (readonly [field: 'vm' | 'system' | 'display', runtime: RuntimeKind])[] = [
  ['vm', 'vm'],
  ['display', 'vm'],
  ['system', 'system'],
];

export function refuseForRuntime(spec: WorkloadSpec): Refusal[] {
  const found: Refusal[] = [];
  const refuse = (path: readonly (string | number)[], message: string) =>
    found.push({ path: ['spec', ...path], atKey: false, message });
  for (const [field, runtime] of OWN) {
    if (spec[field] === undefined || spec[field] === false || spec.runtime === runtime) continue;
    refuse([field], `only the runtime ${runtime} has it, and this is ${spec.runtime}`);
  }
  const { vm } = spec;
  if (vm?.secureBoot && vm.firmware === 'bios')
    refuse(['vm', 'secureBoot'], 'a BIOS has no secure boot: firmware must be uefi');
  if (vm?.boot && vm.secureBoot)
    refuse(
      ['vm', 'boot'],
      'secure boot starts signed loaders from a disk: it can not be with a kernel of its own',
    );
  else if (vm?.boot && vm.firmware === 'uefi')
    refuse(['vm', 'boot'], 'the kernel is loaded without UEFI: leave firmware out, or boot from the disk');
  if (spec.runtime === 'vm' && spec.command)
    refuse(
      ['command'],
      'a virtual machine starts what its disk has; use spec.vm.cloudInit to have it run something',
    );
  refuseCards(spec, refuse);
  const { userData, networkConfig } = vm?.cloudInit ?? {};
  const ofUser = userData === undefined ? undefined : flawOfUserData(userData);
  if (ofUser !== undefined) refuse(['vm', 'cloudInit', 'userData'], ofUser);
  const ofNetwork = networkConfig === undefined ? undefined : flawOfNetworkConfig(networkConfig);
  if (ofNetwork !== undefined) refuse(['vm', 'cloudInit', 'networkConfig'], ofNetwork);
  return found;
}

function refuseCards(
  { vm, replicas = 1 }: WorkloadSpec,
  refuse: (path: readonly (string | number)[], message: string) => void,
): void {
  const seen = new Set<string>();
  for (const [at, { name, address, mac }] of (vm?.networks ?? []).entries()) {
    const path = ['vm', 'networks', at];
    if (seen.has(name)) refuse([...path, 'name'], `it has a card on "${name}" already`);
    seen.add(name);
    if (address !== undefined && !isInterfaceAddress(address))
      refuse(
        [...path, 'address'],
        `"${address}" is no address that a card can have, with its prefix, as 192.168.7.10/24`,
      );
    for (const [field, value] of Object.entries({ address, mac }))
      if (value !== undefined && (typeof replicas === 'object' || replicas > 1))
        refuse(
          [...path, field],
          `one machine can have it, and there are ${typeof replicas === 'object' ? 'replicas at every site' : `${replicas} replicas`}`,
        );
  }
}
