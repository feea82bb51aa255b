/** A controller with a node at each of some sites and an access network around them, for tests. */
import { type FakeNode, startFakeNode } from './fake-node.ts';
import { type Harness, startHarness } from './harness.ts';

/** A manifest of the access network, to be joined with others; all carry the label fleet=red. */
export const document = (kind: string, name: string, spec: string): string =>
  `apiVersion: skerry/v1\nkind: ${kind}\nmetadata: { name: ${name}, labels: { fleet: red } }\nspec: ${spec}\n---\n`;

export interface Edge {
  readonly harness: Harness;
  /** In the order of the sites, each by the name of its site. */
  readonly nodes: readonly FakeNode[];
  /** Returns what was logged as an error. */
  close(): Promise<string[]>;
}

export async function startEdge(
  sites: readonly string[],
  documents: readonly string[],
  nodeGraceMs?: number,
): Promise<Edge> {
  const harness = await startHarness({ node: false, ...(nodeGraceMs !== undefined && { nodeGraceMs }) });
  const nodes: FakeNode[] = [];
  for (const [at, name] of sites.entries())
    nodes.push(await startFakeNode(harness.controller.link, { name, subnet: `10.90.${at}.0/24` }));
  const body = [...sites.map((name) => document('Site', name, '{}')), ...documents].join('');
  await harness.client.apply({ body });
  for (const name of sites) await harness.client.node.patch({ name, body: { spec: { site: name } } });
  return {
    harness,
    nodes,
    async close() {
      for (const node of nodes) await node.stop();
      const { errors } = harness;
      await harness.close();
      return errors;
    },
  };
}
