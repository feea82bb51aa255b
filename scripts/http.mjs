// A request as curl would make it, for machines without curl. `--readings FILE` posts a CSV in pieces of 500 lines and
// prints the last answer, with the time of one piece.
import { readFileSync } from 'node:fs';

const args = process.argv.slice(2);
const ask = async (url, init) => {
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await fetch(url, init);
      const text = await answer.text();
      if (!answer.ok) throw Object.assign(new Error(`${url}: ${answer.status} ${text}`), { answered: true });
      return text;
    } catch (error) {
      if (error.answered || attempt >= 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
};
const print = (text) => process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);

if (args[0] === '--readings') {
  const [heading, ...rows] = readFileSync(args[1], 'utf8').trim().split('\n');
  const took = [];
  let last = '';
  for (let at = 0; at < rows.length; at += 500) {
    const body = `${heading}\n${rows.slice(at, at + 500).join('\n')}\n`;
    const begun = performance.now();
    last = await ask(args[2], { method: 'POST', headers: { 'content-type': 'text/csv' }, body });
    took.push(performance.now() - begun);
  }
  took.sort((a, b) => a - b);
  print(
    `${rows.length} readings in ${took.length} requests, median ${took[took.length >> 1].toFixed(1)} ms each; the last answer:`,
  );
  print(last.length > 600 ? `${last.slice(0, 600)}…` : last);
} else print(await ask(args[0]));
