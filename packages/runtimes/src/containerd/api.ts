/**
 * The part of containerd's gRPC API (1.6; github.com/containerd/containerd/tree/release/1.6/api) that Skerry speaks, in a
 * short form of its .proto files: `name:type=number`, `[]` repeated, `map` of strings. Enums travel as numbers. It is
 * text in the program, so that a bundle needs no files beside it.
 */
import { fromJSON, type MessageTypeDefinition, type MethodDefinition } from '@grpc/proto-loader';

const MESSAGES = {
  'google.protobuf': {
    Any: 'typeUrl:string=1 value:bytes=2',
    Empty: '',
    Timestamp: 'seconds:int64=1 nanos:int32=2',
  },
  'containerd.types': {
    Mount: 'type:string=1 source:string=2 target:string=3 options:string[]=4',
    Descriptor: 'mediaType:string=1 digest:string=2 size:int64=3',
  },
  'containerd.v1.types': {
    Process:
      'containerId:string=1 id:string=2 pid:uint32=3 status:int32=4 exitStatus:uint32=9 exitedAt:.google.protobuf.Timestamp=10',
  },
  'containerd.services.version.v1': { VersionResponse: 'version:string=1 revision:string=2' },
  'containerd.services.namespaces.v1': { DeleteNamespaceRequest: 'name:string=1' },
  'containerd.services.containers.v1': {
    Runtime: 'name:string=1 options:.google.protobuf.Any=2',
    Container:
      'id:string=1 labels:map=2 image:string=3 runtime:Runtime=4 spec:.google.protobuf.Any=5 snapshotter:string=6 snapshotKey:string=7',
    GetContainerRequest: 'id:string=1',
    GetContainerResponse: 'container:Container=1',
    ListContainersRequest: 'filters:string[]=1',
    ListContainersResponse: 'containers:Container[]=1',
    CreateContainerRequest: 'container:Container=1',
    CreateContainerResponse: 'container:Container=1',
    DeleteContainerRequest: 'id:string=1',
  },
  'containerd.services.tasks.v1': {
    CreateTaskRequest:
      'containerId:string=1 rootfs:.containerd.types.Mount[]=3 stdin:string=4 stdout:string=5 stderr:string=6 terminal:bool=7 options:.google.protobuf.Any=9',
    CreateTaskResponse: 'containerId:string=1 pid:uint32=2',
    StartRequest: 'containerId:string=1 execId:string=2',
    StartResponse: 'pid:uint32=1',
    DeleteTaskRequest: 'containerId:string=1',
    DeleteProcessRequest: 'containerId:string=1 execId:string=2',
    DeleteResponse: 'id:string=1 pid:uint32=2 exitStatus:uint32=3 exitedAt:.google.protobuf.Timestamp=4',
    GetRequest: 'containerId:string=1 execId:string=2',
    GetResponse: 'process:.containerd.v1.types.Process=1',
    KillRequest: 'containerId:string=1 execId:string=2 signal:uint32=3 all:bool=4',
    ExecProcessRequest:
      'containerId:string=1 stdin:string=2 stdout:string=3 stderr:string=4 terminal:bool=5 spec:.google.protobuf.Any=6 execId:string=7',
    ResizePtyRequest: 'containerId:string=1 execId:string=2 width:uint32=3 height:uint32=4',
    CloseIORequest: 'containerId:string=1 execId:string=2 stdin:bool=3',
    WaitRequest: 'containerId:string=1 execId:string=2',
    WaitResponse: 'exitStatus:uint32=1 exitedAt:.google.protobuf.Timestamp=2',
  },
  'containerd.services.snapshots.v1': {
    PrepareSnapshotRequest: 'snapshotter:string=1 key:string=2 parent:string=3 labels:map=4',
    PrepareSnapshotResponse: 'mounts:.containerd.types.Mount[]=1',
    MountsRequest: 'snapshotter:string=1 key:string=2',
    CommitSnapshotRequest: 'snapshotter:string=1 name:string=2 key:string=3 labels:map=4',
    RemoveSnapshotRequest: 'snapshotter:string=1 key:string=2',
    StatSnapshotRequest: 'snapshotter:string=1 key:string=2',
    Info: 'name:string=1 parent:string=2 kind:int32=3 labels:map=6',
    StatSnapshotResponse: 'info:Info=1',
    ListSnapshotsRequest: 'snapshotter:string=1 filters:string[]=2',
    ListSnapshotsResponse: 'info:Info[]=1',
  },
  'containerd.services.content.v1': {
    Info: 'digest:string=1 size:int64=2 labels:map=5',
    ListContentRequest: 'filters:string[]=1',
    ListContentResponse: 'info:Info[]=1',
    DeleteContentRequest: 'digest:string=1',
    WriteContentRequest:
      'action:int32=1 ref:string=2 total:int64=3 expected:string=4 offset:int64=5 data:bytes=6 labels:map=7',
    WriteContentResponse: 'action:int32=1 offset:int64=4 total:int64=5 digest:string=6',
    AbortRequest: 'ref:string=1',
  },
  'containerd.services.diff.v1': {
    ApplyRequest: 'diff:.containerd.types.Descriptor=1 mounts:.containerd.types.Mount[]=2',
    ApplyResponse: 'applied:.containerd.types.Descriptor=1',
  },
  'containerd.services.events.v1': {
    SubscribeRequest: 'filters:string[]=1',
    PublishRequest: 'topic:string=1 event:.google.protobuf.Any=2',
    Envelope:
      'timestamp:.google.protobuf.Timestamp=1 namespace:string=2 topic:string=3 event:.google.protobuf.Any=4',
  },
  'containerd.events': {
    TaskExit:
      'containerId:string=1 id:string=2 pid:uint32=3 exitStatus:uint32=4 exitedAt:.google.protobuf.Timestamp=5',
    TaskOOM: 'containerId:string=1',
  },
  'containerd.runc.v1': { Options: 'noNewKeyring:bool=2 root:string=7' },
} as const;

const EMPTY = 'google.protobuf.Empty';
/** Method: request, response; `*` before a type means a stream of it. */
const SERVICES: Record<string, Record<string, readonly [string, string]>> = {
  'containerd.services.version.v1.Version': { Version: [EMPTY, 'VersionResponse'] },
  'containerd.services.namespaces.v1.Namespaces': { Delete: ['DeleteNamespaceRequest', EMPTY] },
  'containerd.services.containers.v1.Containers': {
    Get: ['GetContainerRequest', 'GetContainerResponse'],
    List: ['ListContainersRequest', 'ListContainersResponse'],
    Create: ['CreateContainerRequest', 'CreateContainerResponse'],
    Delete: ['DeleteContainerRequest', EMPTY],
  },
  'containerd.services.tasks.v1.Tasks': {
    Create: ['CreateTaskRequest', 'CreateTaskResponse'],
    Start: ['StartRequest', 'StartResponse'],
    Delete: ['DeleteTaskRequest', 'DeleteResponse'],
    DeleteProcess: ['DeleteProcessRequest', 'DeleteResponse'],
    Get: ['GetRequest', 'GetResponse'],
    Kill: ['KillRequest', EMPTY],
    Exec: ['ExecProcessRequest', EMPTY],
    ResizePty: ['ResizePtyRequest', EMPTY],
    CloseIO: ['CloseIORequest', EMPTY],
    Wait: ['WaitRequest', 'WaitResponse'],
  },
  'containerd.services.snapshots.v1.Snapshots': {
    Prepare: ['PrepareSnapshotRequest', 'PrepareSnapshotResponse'],
    View: ['PrepareSnapshotRequest', 'PrepareSnapshotResponse'],
    Mounts: ['MountsRequest', 'PrepareSnapshotResponse'],
    Commit: ['CommitSnapshotRequest', EMPTY],
    Remove: ['RemoveSnapshotRequest', EMPTY],
    Stat: ['StatSnapshotRequest', 'StatSnapshotResponse'],
    List: ['ListSnapshotsRequest', '*ListSnapshotsResponse'],
  },
  'containerd.services.content.v1.Content': {
    List: ['ListContentRequest', '*ListContentResponse'],
    Delete: ['DeleteContentRequest', EMPTY],
    Write: ['*WriteContentRequest', '*WriteContentResponse'],
    Abort: ['AbortRequest', EMPTY],
  },
  'containerd.services.diff.v1.Diff': { Apply: ['ApplyRequest', 'ApplyResponse'] },
  'containerd.services.events.v1.Events': {
    Subscribe: ['SubscribeRequest', '*Envelope'],
    Publish: ['PublishRequest', EMPTY],
  },
};

interface Namespace {
  nested: Record<string, Namespace | object>;
}

function fieldsOf(text: string): Record<string, object> {
  const fields: Record<string, object> = {};
  for (const field of text.split(' ').filter(Boolean)) {
    const [, name, type, list, id] = /^(\w+):([\w.]+)(\[\])?=(\d+)$/.exec(field)!;
    fields[name!] =
      type === 'map'
        ? { keyType: 'string', type: 'string', id: Number(id) }
        : { type, id: Number(id), ...(list ? { rule: 'repeated' } : {}) };
  }
  return fields;
}

function describe(): Namespace {
  const root: Namespace = { nested: {} };
  const folder = (path: string): Namespace => {
    let at = root;
    for (const name of path.split('.')) {
      at.nested[name] ??= { nested: {} };
      at = at.nested[name] as Namespace;
    }
    return at;
  };
  for (const [path, messages] of Object.entries(MESSAGES)) {
    for (const [name, text] of Object.entries(messages))
      folder(path).nested[name] = { fields: fieldsOf(text) };
  }
  for (const [path, methods] of Object.entries(SERVICES)) {
    const cut = path.lastIndexOf('.');
    folder(path.slice(0, cut)).nested[path.slice(cut + 1)] = {
      methods: Object.fromEntries(
        Object.entries(methods).map(([name, [request, response]]) => [
          name,
          {
            requestType: request.replace('*', ''),
            responseType: response.replace('*', ''),
            requestStream: request.startsWith('*'),
            responseStream: response.startsWith('*'),
          },
        ]),
      ),
    };
  }
  return root;
}

const loaded = fromJSON(describe(), { longs: Number, defaults: true });

/** `Tasks.Create` -> its path and coders. */
export const METHODS: Readonly<Record<string, MethodDefinition<object, object>>> = Object.fromEntries(
  Object.keys(SERVICES).flatMap((service) =>
    Object.entries(loaded[service] as Record<string, MethodDefinition<object, object>>).map(
      ([name, method]) => [`${service.slice(service.lastIndexOf('.') + 1)}.${name}`, method],
    ),
  ),
);

const coder = (name: string) => loaded[name] as MessageTypeDefinition<object, object>;

/** A message as containerd's `Any`: events, and options of runc's shim. */
export const packAny = (name: string, value: object): Any => ({
  typeUrl: name,
  value: coder(name).serialize(value),
});
export const unpackAny = <T>(any: Any): T => coder(any.typeUrl).deserialize(any.value) as T;

/** JSON in an `Any`, as containerd marks it (github.com/containerd/typeurl). */
export const jsonAny = (kind: 'Spec' | 'Process', value: object): Any => ({
  typeUrl: `types.containerd.io/opencontainers/runtime-spec/1/${kind}`,
  value: Buffer.from(JSON.stringify(value)),
});

export interface Any {
  readonly typeUrl: string;
  readonly value: Buffer;
}
export interface Timestamp {
  readonly seconds: number;
  readonly nanos: number;
}
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target?: string;
  readonly options: readonly string[];
}
export const toMillis = (time: Timestamp | null | undefined): number =>
  time ? time.seconds * 1000 + Math.floor(time.nanos / 1e6) : Date.now();
