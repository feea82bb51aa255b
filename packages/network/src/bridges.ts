/** Networks that a node has besides its own: bridges that its operator made and keeps, each under a name. Nothing is made here. */
import { type LinkState, linkState } from '@skerry/host';
import { type ProbeFinding, SkerryError } from '@skerry/model';

export type Bridges = Readonly<Record<string, string>>;

const remedy = (bridge: string) =>
  `make it (ip link add ${bridge} type bridge; ip link set ${bridge} up), or start the agent without this network`;

/** Errors: host_missing, with what to do. */
export function bridgeOf(bridges: Bridges, network: string): { name: string; mtu: number } {
  const name = Object.hasOwn(bridges, network) ? bridges[network] : undefined;
  if (name === undefined)
    throw new SkerryError(
      'host_missing',
      `this node has no network "${network}": start its agent with --network ${network}=BRIDGE`,
      { details: { network } },
    );
  const link: LinkState | undefined = linkState(name);
  if (!link?.isBridge)
    throw new SkerryError(
      'host_missing',
      `the network "${network}" is the bridge ${name}, and ${link ? `${name} is no bridge` : 'there is none'}: ${remedy(name)}`,
      { details: { network, bridge: name } },
    );
  return { name, mtu: link.mtu };
}

/** One for each network, `bridge.plant`. */
export const findBridges = (bridges: Bridges): ProbeFinding[] =>
  Object.entries(bridges).map(([network, bridge]): ProbeFinding => {
    const name = `bridge.${network}`;
    try {
      bridgeOf(bridges, network);
      return {
        name,
        ok: true,
        level: 'ok',
        text: `virtual machines get a card on the bridge ${bridge} by networks: [{ name: ${network} }]`,
      };
    } catch (error) {
      return {
        name,
        ok: false,
        level: 'missing',
        text: (error as SkerryError).message,
        remedy: remedy(bridge),
      };
    }
  });
