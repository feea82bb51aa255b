/** Passwords and tokens of sinks, taken out of a stream's spec and put in again. Pure. */
import type { StreamSink, StreamSpec } from '@skerry/model';

type Secrets = Readonly<Record<string, string>>;

/** The kind, the place, the user, and which of several alike: for another place a secret counts no more. */
function places(spec: StreamSpec): (string | undefined)[] {
  const seen = new Map<string, number>();
  return spec.to.map((sink) => {
    const place =
      'mqtt' in sink
        ? ['mqtt', sink.mqtt.url, sink.mqtt.username ?? '']
        : 'webhook' in sink
          ? ['webhook', sink.webhook.url]
          : undefined;
    if (!place) return undefined;
    const key = JSON.stringify(place);
    const count = seen.get(key) ?? 0;
    seen.set(key, count + 1);
    return `${count} ${key}`;
  });
}

function withSecret(sink: StreamSink, secret: string | undefined): StreamSink {
  if ('mqtt' in sink) {
    const { password: _, ...rest } = sink.mqtt;
    return { ...sink, mqtt: { ...rest, ...(secret !== undefined && { password: secret }) } };
  }
  if ('webhook' in sink) {
    const { token: _, ...rest } = sink.webhook;
    return { ...sink, webhook: { ...rest, ...(secret !== undefined && { token: secret }) } };
  }
  return sink;
}

const secretOf = (sink: StreamSink): string | undefined =>
  'mqtt' in sink ? sink.mqtt.password : 'webhook' in sink ? sink.webhook.token : undefined;

/** What may be shown, and the secrets; those that are left out stay as they were, an empty one takes its former away. */
export function takeSecrets(spec: StreamSpec, former: Secrets): { spec: StreamSpec; secrets: Secrets } {
  const names = places(spec);
  const secrets = new Map<string, string>();
  for (const [at, sink] of spec.to.entries()) {
    const name = names[at];
    if (name === undefined) continue;
    const secret = secretOf(sink) ?? (Object.hasOwn(former, name) ? former[name] : undefined);
    if (secret !== undefined && secret !== '') secrets.set(name, secret);
  }
  return {
    spec: { ...spec, to: spec.to.map((sink) => withSecret(sink, undefined)) },
    secrets: Object.fromEntries(secrets),
  };
}

/** As nodes have it. */
export function putSecrets(spec: StreamSpec, secrets: Secrets): StreamSpec {
  const names = places(spec);
  return { ...spec, to: spec.to.map((sink, at) => withSecret(sink, secrets[names[at] ?? ''])) };
}
