// Asks a URL again and again, each time over a new connection, and tells what a client sees. `answers.mjs URL COUNT`: the median
// time of COUNT answers. `answers.mjs --handover URL LIMIT-MS`: goes on until somebody else answers, and tells for how long
// nobody did; prints `asking` as soon as the first answer is there. `answers.mjs --all URL`: every answer, with its moment in
// milliseconds since the epoch and the time that it took, until it is ended.
import { request } from 'node:http';

function get(url, timeoutMs) {
  const begunMs = performance.now();
  return new Promise((resolve) => {
    const fail = () => resolve(undefined);
    const asked = request(url, { agent: false, timeout: timeoutMs }, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () =>
        resolve({ text: text.trim(), tookMs: performance.now() - begunMs, atMs: performance.now() }),
      );
      response.on('error', fail);
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', fail);
    asked.end();
  });
}

const words = process.argv.slice(2);
if (words[0] === '--all') {
  for (;;) {
    const answer = await get(words[1], 200);
    if (answer) console.log(`${performance.timeOrigin + answer.atMs} ${answer.tookMs} ${answer.text}`);
  }
}
if (words[0] === '--handover') {
  const [, url, limitMs] = words;
  const until = performance.now() + Number(limitMs);
  let last;
  let lost = 0;
  while (performance.now() < until) {
    const answer = await get(url, 200);
    if (!answer) {
      lost++;
      continue;
    }
    if (!last) console.log('asking');
    else if (answer.text !== last.text) {
      const gapMs = answer.atMs - last.atMs;
      console.log(
        `${last.text} ... ${answer.text}: ${gapMs.toFixed(1)} ms between their answers, of which ${answer.tookMs.toFixed(1)} ms is the answer itself; ${lost} requests were lost`,
      );
      process.exit(0);
    }
    last = answer;
  }
  console.log('nobody else answered');
  process.exit(1);
}
const [url, count] = words;
const times = [];
let text = '';
for (let at = 0; at < Number(count); at++) {
  const answer = await get(url, 5000);
  if (!answer) continue;
  times.push(answer.tookMs);
  text = answer.text;
}
if (times.length === 0) {
  console.log('no answer');
  process.exit(1);
}
times.sort((a, b) => a - b);
console.log(`${text}, after ${times[times.length >> 1].toFixed(1)} ms (median of ${times.length})`);
