/** A sink by what a stream says. Those that others keep (series, streams) are handed in. */
import type { StreamSink } from '@skerry/model';
import type { Item } from '../message.ts';
import type { Outgoing, Sink } from '../ports.ts';
import { fileSink } from './file.ts';
import { jsonOf } from './names.ts';

export interface SinkSurroundings {
  readonly filesFolder: string;
  readonly clientId: string;
  /** Resolves when they are durable there. */
  readonly toStream: (name: string, items: readonly Item[]) => Promise<void>;
  readonly series: (spec: Extract<StreamSink, { series: unknown }>['series']) => Sink;
}

const asItem = ({ payload, ...rest }: Outgoing): Item => ({ ...rest, value: jsonOf(payload) });

/** A program's share that only some streams need is loaded with the first of them. */
function lazily(kind: string, batch: number, load: () => Promise<Sink>): Sink {
  let loaded: Promise<Sink> | undefined;
  return {
    kind,
    batch,
    async deliver(messages, signal) {
      loaded ??= load();
      await (await loaded).deliver(messages, signal);
    },
    async close() {
      await (await loaded)?.close();
    },
  };
}

export function makeSink(spec: StreamSink, around: SinkSurroundings): Sink {
  if ('series' in spec) return around.series(spec.series);
  if ('file' in spec) return fileSink(around.filesFolder, spec.file);
  if ('mqtt' in spec) {
    const batch = (spec.mqtt.batch ?? 1) > 1 ? spec.mqtt.batch! : 64;
    return lazily('mqtt', batch, async () => (await import('./mqtt.ts')).mqttSink(spec.mqtt, around));
  }
  if ('webhook' in spec)
    return lazily('webhook', spec.webhook.batch ?? 1, async () =>
      (await import('./webhook.ts')).webhookSink(spec.webhook),
    );
  return {
    ...{ kind: 'stream', batch: 200, close: () => Promise.resolve() },
    deliver: (batch) => around.toStream(spec.stream.name, batch.map(asItem)),
  };
}
