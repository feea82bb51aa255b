/**
 * What the kernel can do for networks, each tried in a namespace of its own that is gone afterwards: bandwidth limits, delay,
 * the overlay between nodes, encryption. Touches nothing else, so it may be asked before anything was started.
 */
import { type Identity, ipBatch, type LineFailure, tcBatch } from '@skerry/host';
import { asSkerryError, type ProbeFinding } from '@skerry/model';

const ok = (name: string, text: string): ProbeFinding => ({ name, ok: true, level: 'ok', text });
const lacks = (name: string, text: string, remedy: string): ProbeFinding => ({
  ...{ name, ok: true, level: 'degraded' },
  ...{ text, remedy },
});
const words = (failures: readonly LineFailure[]) => failures.map(({ text }) => text).join('; ');

const LINKS = ['link add name i0 type ifb', 'link add name v0 type veth peer name v1'];
const SHAPING = [
  'qdisc add dev v0 root handle 1: htb default 1',
  'qdisc add dev v0 handle ffff: ingress',
  'filter add dev v0 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev i0',
];

/** `network.shaping`, `network.netem`, `network.overlay`, `network.wireguard`. */
export async function probeKernel(identity: Identity, signal: AbortSignal): Promise<ProbeFinding[]> {
  const netns = `${identity.netnsPrefix}probe-${process.pid}`;
  try {
    const made = await ipBatch([`netns add ${netns}`], signal);
    if (made.length > 0) return [noNamespace(words(made))];
    const shaping = [...(await ipBatch(LINKS, signal, netns)), ...(await tcBatch(SHAPING, signal, netns))];
    const netem = await tcBatch(['qdisc add dev v1 root netem delay 1ms'], signal, netns);
    const vxlan = await ipBatch(['link add name x0 type vxlan id 1 dstport 4789 nolearning'], signal, netns);
    const wireGuard = await ipBatch(['link add name w0 type wireguard'], signal, netns);
    return [
      shapingFinding(shaping),
      netemFinding(netem),
      overlayFinding(vxlan),
      wireGuardFinding(wireGuard.length === 0),
    ];
  } catch (error) {
    if (signal.aborted) throw error;
    return [noNamespace(asSkerryError(error).message)];
  } finally {
    await ipBatch([`netns del ${netns}`], AbortSignal.timeout(5000)).catch(() => undefined);
  }
}

const noNamespace = (why: string): ProbeFinding => ({
  ...{ name: 'network.namespaces', ok: false, level: 'missing' },
  text: `no network namespace can be made: ${why}`,
  remedy: 'apt-get install iproute2, and a kernel with CONFIG_NET_NS; it needs root',
});

const shapingFinding = (failures: readonly LineFailure[]) =>
  failures.length === 0
    ? ok('network.shaping', 'bandwidth is limited by HTB and IFB')
    : lacks(
        'network.shaping',
        `bandwidth limits do not work: ${words(failures)}`,
        'modprobe -a ifb sch_htb sch_ingress cls_u32 act_mirred',
      );

/** Nothing of a single node needs it. */
const netemFinding = (failures: readonly LineFailure[]) =>
  failures.length === 0
    ? ok('network.netem', 'the kernel can delay packets')
    : ok('network.netem', 'the kernel can not delay packets (no netem): the wires of labs do it themselves');

const overlayFinding = (failures: readonly LineFailure[]) =>
  failures.length === 0
    ? ok('network.overlay', 'guests of several nodes reach each other over VXLAN, UDP port 4789')
    : lacks(
        'network.overlay',
        `guests do not reach those of other nodes, for the kernel has no VXLAN: ${words(failures)}`,
        'modprobe vxlan',
      );

/** Said, because who reads it decides where nodes may stand; nothing uses it. */
const wireGuardFinding = (there: boolean) =>
  ok(
    'network.wireguard',
    `${there ? 'the kernel has WireGuard, which is not used yet' : 'the kernel has no WireGuard'}: what goes between guests of several nodes is not encrypted, put nodes on a network of their own`,
  );
