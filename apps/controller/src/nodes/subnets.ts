/**
 * Which node has which subnet. Guests of all nodes reach each other, so no two may meet: a machine that joins offers some and
 * gets one that is free; a node that registers with one that meets another's is refused. Held in memory, by what is stored.
 */
import { type Node, SkerryError } from '@skerry/model';
import { parseSubnet } from '../admission/addresses.ts';
import type { View } from '../state/view.ts';

interface Range {
  readonly first: number;
  readonly last: number;
}

export interface Subnets {
  /** The first of them that meets no other node's, from now on of this node. Errors: conflict, naming the other node. */
  claim(node: string, offered: readonly string[]): string;
}

function rangeOf(cidr: string): Range {
  const { base, prefixLength } = parseSubnet(cidr);
  return { first: base, last: base + 2 ** (32 - prefixLength) - 1 };
}

export function createSubnets(view: View): Subnets {
  const ranges = new Map<string, Range>();
  const cidrs = new Map<string, string>();
  view.onChange((change) => {
    if (change.collection !== 'nodes') return;
    const { before, after } = change as { before?: Node; after?: Node };
    const name = (after ?? before)?.metadata.name;
    if (name === undefined) return;
    const cidr = after?.status.subnet;
    if (cidr === undefined) {
      ranges.delete(name);
      cidrs.delete(name);
    } else if (cidrs.get(name) !== cidr) {
      ranges.set(name, rangeOf(cidr));
      cidrs.set(name, cidr);
    }
  });
  const holderOf = (node: string, { first, last }: Range): string | undefined => {
    for (const [name, range] of ranges) {
      if (name !== node && range.first <= last && range.last >= first) return name;
    }
    return undefined;
  };
  return {
    claim(node, offered) {
      let holder: string | undefined;
      for (const cidr of offered) {
        if (cidrs.get(node) === cidr) return cidr;
        const range = rangeOf(cidr);
        holder = holderOf(node, range);
        if (holder !== undefined) continue;
        ranges.set(node, range);
        cidrs.set(node, cidr);
        return cidr;
      }
      throw new SkerryError(
        'conflict',
        `the subnet ${offered.at(-1)} of the node ${node} meets that of the node ${holder}, and guests of both could not reach each other: end what ${node} has with \`skerry down --purge\`, and let it join anew`,
        { details: { node: holder } },
      );
    },
  };
}
