/** The agent's device service put together: what the node is, said to its device program. */
import { hostname } from 'node:os';
import type { ControllerLink } from '@skerry/contract';
import type { Local, LocalEndpoint } from '@skerry/devices/client';
import { type Identity, machineAddresses } from '@skerry/host';
import type { Clock } from '@skerry/reconcile';
import type { Logger } from '../ports.ts';
import { DeviceCertificate } from './certificate.ts';
import { createDeviceProgram } from './program.ts';
import { DeviceService } from './service.ts';

export interface AgentDevices {
  readonly identity: Identity;
  /** `dist/devices.mjs` */
  readonly script: string;
  /** `mqtts://0.0.0.0:8883` and so on; `none`. */
  readonly listen: readonly string[];
  readonly outside?: Local['outside'];
}

export interface DeviceServiceParts {
  readonly node: string;
  readonly endpoints: () => readonly LocalEndpoint[];
  readonly onTrouble: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

export function createDeviceService(
  { identity, script, listen, outside }: AgentDevices,
  { node, endpoints, onTrouble, clock, logger, random }: DeviceServiceParts,
): DeviceService {
  const addresses = () => [...new Set([...machineAddresses(identity), '127.0.0.1', '::1'])];
  const names = () => [...new Set([...addresses(), 'localhost', hostname(), node])];
  const certificate = new DeviceCertificate({ identity, node, names, clock });
  const service: DeviceService = new DeviceService({
    ...{ node, onTrouble, clock, logger, random },
    program: createDeviceProgram({ identity, script, clock }),
    local: () => {
      const { paths } = certificate;
      return {
        ...{ node, listen, addresses: addresses(), guests: endpoints() },
        ...(paths && { tls: paths }),
        ...(outside && { outside }),
      };
    },
    certify: async (link: ControllerLink) => {
      if (await certificate.ensure(link)) service.changed();
    },
  });
  return service;
}
