/** Which instances steps of streams may ask: those of this node first, then those of other nodes, the nearest first. Pure. */
import type { DesiredInstance, ServiceRoute } from '@skerry/contract';
import type { LocalEndpoint } from '@skerry/devices/client';
import type { InstanceStatus } from '@skerry/model';

export interface EndpointKnowledge {
  readonly node: string;
  readonly instances: readonly DesiredInstance[];
  readonly services: readonly ServiceRoute[];
  readonly status: (uid: DesiredInstance['uid']) => Pick<InstanceStatus, 'phase' | 'health'> | undefined;
}

export function endpointsOf({ node, instances, services, status }: EndpointKnowledge): LocalEndpoint[] {
  const here = instances.flatMap(({ uid, project, spec, deleted }): LocalEndpoint[] => {
    const now = status(uid);
    const address = spec.network?.address;
    if (deleted || address === undefined || now?.phase !== 'running' || now.health === 'unhealthy') return [];
    const about = { project, workload: spec.workload, uid, address, isHere: true as const };
    const ports = (spec.template.ports ?? []).filter(({ protocol }) => protocol !== 'udp');
    return ports.map(({ name, port }) => ({ ...about, portName: name, port }));
  });
  const elsewhere = services.flatMap(({ project, name, ports, endpoints }) =>
    endpoints
      .filter((one) => one.node !== node && one.healthy)
      .toSorted((a, b) => a.latencyUs - b.latencyUs)
      .flatMap(({ uid, address }) =>
        ports
          .filter(({ protocol }) => protocol === 'tcp')
          .map((port) => ({
            ...{ project, workload: name, uid, address },
            ...{ portName: port.name, port: port.targetPort },
          })),
      ),
  );
  return [...here, ...elsewhere];
}
