/** What each field of a manifest means. Numbers come from the code that uses them, so that the page can not be wrong alone. */
import {
  DEFAULT_DEVICE_TOPICS,
  defaultMemoryBytes,
  formatBytes,
  formatMillis,
  GUEST_DEFAULTS,
  KEEP_UNWANTED_MS,
} from '@skerry/model';

const { health } = GUEST_DEFAULTS;
const memory = (['container', 'unikernel', 'sim'] as const)
  .map((runtime) => `${formatBytes(defaultMemoryBytes(runtime))} for ${runtime}`)
  .join(', ');
const NOT_YET = 'Accepted and kept; nothing reads it yet.';

export const FIELDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  shared: {
    apiVersion: 'The version of the shape.',
    kind: 'The kind of the document.',
    metadata: 'Its name, and what people add to it.',
    'metadata.name':
      'Unique among its kind in its project. A DNS label; at most 58 characters for a Workload.',
    'metadata.project':
      'The project; default: the one that the request names, `default` for the command line. Not for Node and Project.',
    'metadata.labels': 'For selectors. A change of labels replaces no instance.',
    'metadata.annotations': 'Kept, and read by nobody.',
  },
  kinds: {
    Workload: 'What a user asks for: so many instances of an image, on a runtime.',
    Volume: 'Data that outlives its instances: an ext4 file system of a fixed size.',
    Project: 'A room for names, images and volumes, with a quota.',
    Site: 'A place with nodes: the cabinet of a tower, a shop, a data centre. Sites and access points share their names: links name both.',
    AccessPoint: 'Where clients attach.',
    Link: 'A connection between two sites or access points. Cycles are fine: the shortest way counts.',
    Client: 'What attaches to an access point: a phone, a laptop, a vehicle.',
    Device:
      'What sends data: a sensor, a camera, a machine. One of a manifest has nothing to prove itself with until `skerry device rotate`.',
    Stream:
      'Data of devices, processed at every node where it comes in. Passwords and tokens are kept, never shown, and stay where a manifest leaves them out; an empty one takes the former away, and for another address none counts.',
    Node: 'A machine. It is made by the agent that joins; a manifest can only change what is listed here.',
  },
  Workload: {
    'spec.runtime':
      'How the guest runs. Today: `container` (containerd), `unikernel` (QEMU) and `sim` (no guest at all, for tests; `skerry up --sim`). Another one is refused with `unsupported`.',
    'spec.image': 'A name in the image store of the project; without a tag it means `:latest`.',
    'spec.replicas': 'Instances: a number, or so many at each site where they are wanted. Default 1.',
    'spec.replicas.perSite': 'Instances at each of these sites.',
    'spec.replicas.where':
      '`clients` (default): for each access point with clients that it is `near` to (any clients, with no `near`), the nearest site with a node that takes it, within `maxLatency`. `nodes`: every site with a node that takes it.',
    'spec.replicas.sites': 'Only sites with these labels.',
    'spec.replicas.keepFor': `How long instances stay at a site after the last client has left it. Default ${formatMillis(KEEP_UNWANTED_MS)}.`,
    'spec.resources': 'Limits. Each is enforced on the node and counted by admission.',
    'spec.resources.cpus': `Processors, in fractions. Default ${GUEST_DEFAULTS.cpus}.`,
    'spec.resources.memory': `Default ${memory}. At least 1MiB.`,
    'spec.resources.disk':
      'Container and system: size of the writable layer, at least 2MiB; default: no limit of its own. VM: its disk grows to it. Unikernel: size of each block device that its kernel asks for (Solo5); what is on it stays until `disk` is taken out or the workload is deleted.',
    'spec.resources.pids': `Container: processes and threads. Default ${GUEST_DEFAULTS.pids}.`,
    'spec.resources.bandwidth': 'Limits of the network, in both directions apart. Default: none.',
    'spec.resources.bandwidth.in': 'To the guest.',
    'spec.resources.bandwidth.out': 'From the guest.',
    'spec.command':
      'Container: in place of the entrypoint of the image, whose arguments are then dropped too. Unikernel: words that are added to those for its kernel.',
    'spec.args': 'Container: in place of the arguments of the image. Unikernel: as `command`, after it.',
    'spec.workingDir': 'Container: the folder to start in. Default: that of the image.',
    'spec.env':
      'Environment variables; a function reads them as `process.env.NAME`. Other unikernels do not get them.',
    'spec.ports': 'Ports that the guest listens on.',
    'spec.ports[].name': 'Unique in the workload.',
    'spec.ports[].port': 'The port in the guest. A function listens on its first TCP port, 8080 without one.',
    'spec.ports[].protocol': 'Default `tcp`.',
    'spec.ports[].publish': 'A port of the node that leads to this one. For one replica only.',
    'spec.volumes': 'Container: volumes of the project to mount.',
    'spec.volumes[].name': 'The Volume.',
    'spec.volumes[].mount': 'Where, in the guest.',
    'spec.volumes[].readOnly': 'Default false.',
    'spec.address': `How a guest with its own kernel learns its address. Default \`${GUEST_DEFAULTS.addressing}\`: in the words for its kernel.`,
    'spec.display': 'For a `vm`: a screen, a keyboard and a pointer, over VNC. Default `false`.',
    'spec.vm': 'What only the runtime `vm` has.',
    'spec.vm.firmware': '`bios` or `uefi`. Default: what the disk was made for.',
    'spec.vm.secureBoot': 'With `uefi`: only signed loaders start. Default `false`.',
    'spec.vm.tpm': 'A virtual TPM 2.0 whose state is kept with the guest. Default `false`.',
    'spec.vm.cpuModel':
      '`portable` (default): the same on unlike hosts, so that the guest can move. `host`: all that this one has.',
    'spec.vm.cdrom': 'Name of an ISO image. It is started from while the disk has nothing to start.',
    'spec.vm.networks':
      'Further network cards, at most 7, each on a network that the node has by `--network NAME=BRIDGE`.',
    'spec.vm.networks[].name': 'Name of the network.',
    'spec.vm.networks[].address':
      'IPv4 with its prefix, as `192.168.7.10/24`. Default: by DHCP of that network.',
    'spec.vm.networks[].mac': 'Default: one of its own, drawn from the instance and the network.',
    'spec.vm.boot':
      'A kernel in place of what the disk would start: without firmware and loader it is up much sooner. Not with UEFI.',
    'spec.vm.boot.kernel':
      'Name of a Linux kernel in the image store: a bzImage, or a vmlinux with a PVH entry.',
    'spec.vm.boot.initrd': 'Name of an initramfs in the image store.',
    'spec.vm.boot.arguments':
      "The kernel's command line, all of it: `root=/dev/vda2 console=ttyS0`. Default: empty.",
    'spec.vm.cloudInit': 'What cloud-init finds in the guest (data source NoCloud).',
    'spec.vm.cloudInit.userData': 'A cloud-config or a script.',
    'spec.vm.cloudInit.networkConfig':
      'Network configuration, version 2, in place of the one that Skerry writes.',
    'spec.vm.cloudInit.sshKeys': "Public keys that may log in as the image's user.",
    'spec.system': 'What only the runtime `system` has.',
    'spec.system.init': "Path of the first process. Default: the root file system's own init.",
    'spec.system.nesting': 'Whether containers may run inside. Default `false`.',
    'spec.restart': `Whether a guest that ended is started again. Default \`${GUEST_DEFAULTS.restart}\`. After 250 ms at first, then twice as long each time, at most a minute.`,
    'spec.stopGrace': `From asking a guest to stop to forcing it. Default ${formatMillis(GUEST_DEFAULTS.stopGraceMs)}.`,
    'spec.health':
      'Exactly one of `http`, `tcp` and `exec`. Without it a container is ready when its process runs, a function when `/healthz` answers, another unikernel when its first TCP port accepts.',
    'spec.health.http': 'An answer of 200 to 399 is good.',
    'spec.health.http.port': 'The port in the guest.',
    'spec.health.http.path': `Default \`${health.path}\`.`,
    'spec.health.tcp': 'A connection that is accepted is good.',
    'spec.health.tcp.port': 'The port in the guest.',
    'spec.health.exec': 'Container: exit code 0 is good.',
    'spec.health.exec.command': 'The command and its arguments.',
    'spec.health.interval': `Between checks. Default ${formatMillis(health.intervalMs)}; at least 10ms.`,
    'spec.health.timeout': `For one check. Default ${formatMillis(health.timeoutMs)}; at least 10ms.`,
    'spec.health.failures': `Failures in a row after which the guest is restarted. Default ${health.failures}.`,
    'spec.health.startPeriod': `Failures before the first success count only after it. Default ${formatMillis(health.startPeriodMs)}.`,
    'spec.security':
      'Container. What is not given here stays at its default: no privileges to gain, seccomp.',
    'spec.security.readOnlyRoot': 'The image can not be written to. Default false.',
    'spec.security.user': 'In place of the user of the image.',
    'spec.security.capabilities':
      'Beyond the default set, for root inside: another user gets none, as with Docker and Kubernetes. Those that would give the node away are refused with `unsupported`.',
    'spec.security.userNamespace': 'Root inside is nobody on the node. Default false.',
    'spec.placement':
      'Where. Of the nodes that will do: the nearest, then the one with the fewest of the workload, then the one with the most free memory. `skerry workload explain` tells for every node why or why not.',
    'spec.placement.near':
      'What it is to be near: the weighted mean of the latencies counts. What is named together is added up.',
    'spec.placement.near.accessPoints': 'AccessPoints; each counts once.',
    'spec.placement.near.clients':
      'Clients with these labels: their access points, each counted by how many are attached.',
    'spec.placement.near.devices':
      'Devices of the project with these labels: the access point that each is attached to, else the site of the node that has it, counted by how many there are.',
    'spec.placement.maxLatency':
      'One way, from every access point of `near`. A hard bound: where no node meets it, the workload is refused, with the best that could be had and what is in the way.',
    'spec.placement.spread':
      'As few as possible at one `site`, or on one `node`, even if others are farther away.',
    'spec.placement.nodeSelector':
      'Labels that the node must have; `arch`, `node` (its name) and `site` it has by itself. Otherwise the workload is refused.',
    'spec.placement.rebalance':
      'What an instance saves has to be worth a move and to have been so for 30 s, with at most 60 moves an hour; another instance serves before it goes. `skerry rebalance` shows what would be moved, and does it with `--apply`. What has volumes, or `move: never`, stays. Default `manual`.',
    'spec.placement.accelerated': 'Default `false`.',
    'spec.placement.affinity':
      'Only where an instance of each of these workloads is. The first of a workload that is to be near itself may go anywhere.',
    'spec.placement.affinity[].workload': 'A workload of the same project.',
    'spec.placement.affinity[].at': 'Default `node`.',
    'spec.placement.antiAffinity':
      'Nowhere where an instance of one of these workloads is, and they come nowhere where this one is.',
    'spec.placement.antiAffinity[].workload':
      'A workload of the same project; its own name keeps its replicas apart.',
    'spec.placement.antiAffinity[].at': 'Default `node`.',
    'spec.placement.tolerations': 'Taints of nodes that it puts up with.',
    'spec.placement.tolerations[].key': 'As the node has it.',
    'spec.placement.tolerations[].value': 'Default: any.',
    'spec.singleInstance':
      'Never two at a time: its node has a lease for it and stops it when that ends; a controller that can not be reached for about as long as `placement.replaceAfter` stops it, too. With one replica only. Turning it on replaces the instance. Default `false`.',
    'spec.placement.replaceAfter': `How long the node of an instance may be away, from when its agent was last there, before the instance is started on another one; not before the node is lost (30 s). If the agent comes back before, all goes on. What has volumes there waits for it. Default ${formatMillis(GUEST_DEFAULTS.replaceAfterMs)}.`,
    'spec.onHandover':
      'Each instance is told, by an HTTP request to its own address, when a client that the workload is near to (`placement.near.clients`; without it any client) moves.',
    'spec.onHandover.port': 'One of the TCP ports in `spec.ports`.',
    'spec.onHandover.path': 'Default `/`.',
    'spec.priority':
      'Above 0, instances of less priority end for it where there is no room, the fewest and least first. Default 0.',
    'spec.move': NOT_YET,
    'spec.sim': 'Timings and faults of the sim runtime.',
  },
  Volume: { 'spec.size': 'Its size, fixed when it is made.' },
  Project: {
    'spec.devices': 'How devices of the project prove who they are.',
    'spec.devices.authorities':
      'Certificates in PEM by which those of its devices are signed. Default: an authority that the controller makes for the project.',
    'spec.devices.enrolment':
      '`automatic`: a device with a certificate of these authorities that is not known yet is taken in at its first connection. Default `manual`.',
    'spec.description': 'For people; at most 1024 characters.',
    'spec.quota': 'What all instances of the project may take together. Default: no limit.',
    'spec.quota.cpus': 'Sum of `resources.cpus`.',
    'spec.quota.memory': 'Sum of memory.',
    'spec.quota.instances': 'Number of instances.',
  },
  Node: {
    'spec.unschedulable': 'Takes no new instances; those that it has stay.',
    'spec.drain':
      'Takes no new instances, and those that it has are moved away, one of a workload at a time, where another node takes them: `skerry node drain`, `undrain`. Those with volumes here stay.',
    'spec.site': 'The Site that it stands at. Without one, no latency to it is known.',
    'spec.taints': 'Instances that do not tolerate each of them go elsewhere.',
    'spec.taints[].key': 'As in `gpu`.',
    'spec.taints[].value': 'Default: none.',
  },
  Site: {
    'spec.location':
      'Where it is, in degrees (WGS 84). For maps and for `access-point import`; latency comes from links.',
    'spec.location.lat': 'Latitude.',
    'spec.location.lon': 'Longitude.',
  },
  AccessPoint: {
    'spec.type': 'What kind of thing it is.',
    'spec.site': 'The Site that it stands at: no way to go, unless a Link between the two says otherwise.',
    'spec.location': 'Where it is, in degrees (WGS 84).',
    'spec.location.lat': 'Latitude.',
    'spec.location.lon': 'Longitude.',
  },
  Link: {
    'spec.between': 'Its two ends: names of a Site or an AccessPoint.',
    'spec.latency': 'One way. What agents measure corrects it.',
    'spec.bandwidth': 'What it can carry, each way.',
    'spec.loss': 'The share of packets that are lost, 0 to 1. Default 0.',
    'spec.down': 'It is there and carries nothing: the ways over it are not counted. Default `false`.',
  },
  Device: {
    'spec.attachedTo': 'The access point that it comes through.',
    'spec.auth':
      '`password` or `certificate`: the only way that counts. Default: either, and `create` and `rotate` make a password.',
    'spec.topics': 'What it may say and hear; `%d` is its name. Its shadow needs no permission.',
    'spec.topics.publish': `Topics that it may publish to. Default ${DEFAULT_DEVICE_TOPICS.publish.map((one) => `\`${one}\``).join(', ')}.`,
    'spec.topics.subscribe': `Topics that it may subscribe to. Default ${DEFAULT_DEVICE_TOPICS.subscribe.map((one) => `\`${one}\``).join(', ')}.`,
    'spec.limits': 'Each is enforced by the node that it is connected to.',
    'spec.limits.messagesPerSecond': 'Messages that it may publish; beyond, they are read later.',
    'spec.limits.messageSize': 'Of one message.',
    'spec.limits.queued': 'Messages that wait for it while it is away.',
    'spec.attributes': 'What streams may join to its messages: texts, numbers, true or false.',
    'spec.disabled': 'It may not connect; a connection that it has ends.',
  },
  Stream: {
    'spec.from': 'What it takes.',
    'spec.from.topics': 'MQTT topic filters.',
    'spec.from.devices': 'Of these devices only. Default: of every device of the project.',
    'spec.from.devices.labels': 'Devices that have all of these labels.',
    'spec.from.streams': 'What other streams send to it, by the sink `stream`.',
    'spec.format': 'How a message is read. Default `json`.',
    'spec.time': 'The field with the time of the event. Default: when the message arrived.',
    'spec.steps':
      'In order, each one of: `filter` and `map` (a JSONata expression), `window`, `dedupe`, `threshold`, `anomaly`, `join` (attributes of the device), `sparkplug`, `schema` (a JSON Schema), `guest` (a workload of the project, which must exist or stand in the same file).',
    'spec.to':
      'Each with a durable queue of its own (`queue`), one of: `series` (kept at the node), `mqtt` (`url`, `topic`, `username`, `password`), `webhook` (`url`, `headers`, `token`), `file`, `stream` (another one that says `from.streams`; no circles).',
    'spec.deadLetter': 'The topic for what no step could take.',
    'spec.buffer': 'Messages that were acknowledged and not processed yet.',
    'spec.buffer.size': 'On disk.',
    'spec.buffer.age': 'What is older is dropped, and counted.',
    'spec.buffer.whenFull': 'What goes when it is full; `wait`: devices are read more slowly.',
    'spec.buffer.priority': 'A number from 0 to 9; 9 is kept longest.',
    'spec.paused': 'Messages are taken and wait.',
  },
  Client: {
    'spec.attachedTo':
      'The AccessPoint that it comes through. Changing it is a handover; absent: it is away.',
    'spec.address6': 'An IPv6 address beside it: the client is known by both.',
    'spec.address':
      'Its IPv4 or IPv6 address, by which packets are known to be its own. No two clients have the same one.',
  },
};
