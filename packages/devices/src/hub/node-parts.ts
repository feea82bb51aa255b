/** The parts of a node's device program, as they run on a node. */
import { parseMillis } from '@skerry/model';
import { createBroker } from '../broker/broker.ts';
import { openFlow } from '../flow/flow.ts';
import { createGuestCaller } from '../guests/caller.ts';
import { openQueue } from '../queue/queue.ts';
import { openSeries } from '../series/store.ts';
import { makeSink } from '../sinks/make.ts';
import { sinkKey } from '../sinks/names.ts';
import { compileStream } from '../steps/compile.ts';
import type { FlowRequest, HubParts } from './parts.ts';
import { createStreamSink } from './stream-sink.ts';

/** Of all series of a node together; the oldest data go first. */
const SERIES_BYTES = 1024 ** 3;

async function flow(request: FlowRequest) {
  const { stream, folder, node, device, guests, publish, toStream, filesFolder, series, logger } = request;
  const { project, name, spec } = stream;
  const caller = createGuestCaller(guests);
  const opened = await openFlow({
    ...{ folder, project, name, spec, openQueue, device, sinkKey },
    makeSink: (sink) =>
      'stream' in sink
        ? createStreamSink(sink.stream.name, toStream)
        : makeSink(sink, {
            ...{ filesFolder, toStream, clientId: `skerry-${node}-${stream.uid}` },
            series: ({ name: of = name, fields, retention }) =>
              series.sink(project, of, {
                fields,
                retentionMs: retention === undefined ? undefined : parseMillis(retention),
              }),
          }),
    compile: (wanted) =>
      compileStream(wanted, { project, stream: name, node, guest: (guest) => caller.ask(project, guest) }),
    deadLetter(topic, { item, step, reason }) {
      const { id, device: of, topic: from, atMs, value } = item;
      const text = value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
      const payload = JSON.stringify({ id, device: of, topic: from, atMs, step, reason, value: text });
      publish(topic, Buffer.from(payload)).catch((error) =>
        logger.warn({ err: error, project, stream: name }, 'a dead letter was not published'),
      );
    },
    now: Date.now,
  });
  const ended = (work: Promise<void>) => work.finally(() => caller.close());
  return {
    take: opened.take.bind(opened),
    configure: opened.configure.bind(opened),
    counts: opened.counts.bind(opened),
    tail: opened.tail.bind(opened),
    close: () => ended(opened.close()),
    remove: () => ended(opened.remove()),
  };
}

export const nodeParts: HubParts = {
  broker: ({ folder, listen, hooks, tls }) => createBroker({ folder, listen, hooks, ...(tls && { tls }) }),
  flow,
  series: (folder, logger) =>
    openSeries(folder, {
      sizeBytes: SERIES_BYTES,
      now: Date.now,
      trouble: (text, error) => logger.warn({ err: error }, text),
    }),
};
