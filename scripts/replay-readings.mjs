// A thermometer that replays measured readings over MQTT, with QoS 1. `replay-readings.mjs URL CREDENTIALS TOPIC COUNT PER-SECOND`;
// CREDENTIALS is a file with what `skerry device rotate --output json` printed. It sends the next reading when its time has come,
// whether the former one was acknowledged or not, and goes on where it was when the connection comes back. Prints JSON:
// readings, bytes, and the milliseconds until one was acknowledged, which is when it is on the disk of the node.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import mqtt from 'mqtt';

const [url, credentials, topic, count, perSecond] = process.argv.slice(2);
const { username, password, authority } = JSON.parse(readFileSync(credentials, 'utf8'));
const csv = readFileSync(createRequire(import.meta.url).resolve('vega-datasets/data/sf-temps.csv'), 'utf8');
const rows = csv
  .trim()
  .split('\n')
  .slice(1, 1 + Number(count));
const client = await mqtt.connectAsync(url, {
  username,
  password,
  ca: authority,
  clientId: username,
  clean: false,
  protocolVersion: 4,
  reconnectPeriod: 200,
});
const times = [];
let bytes = 0;
const begunMs = performance.now();
const sent = rows.map(async (row, at) => {
  const [date, temp] = row.split(',');
  const payload = JSON.stringify({ date, temp: Number(temp) });
  bytes += payload.length;
  const dueMs = begunMs + (at * 1000) / Number(perSecond);
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
  const atMs = performance.now();
  await client.publishAsync(topic, payload, { qos: 1 });
  times.push(performance.now() - atMs);
});
await Promise.all(sent);
await client.endAsync();
times.sort((a, b) => a - b);
console.log(
  JSON.stringify({ readings: rows.length, bytes, medianMs: Number(times[times.length >> 1].toFixed(1)) }),
);
