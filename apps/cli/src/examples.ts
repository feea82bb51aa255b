/** Examples below the help of commands: what a person types, and what it does. A command of that name must exist. */
import type { Command } from 'commander';

type Example = readonly [command: string, about?: string];

const EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  up: [
    ['skerry up --detach'],
    ['skerry up --detach --listen 0.0.0.0:7443', 'nodes may join, users may come from elsewhere'],
    ['skerry --data /srv/two up --detach', 'a second one on the same machine'],
  ],
  agent: [
    ['skerry agent --join skerry-join-… --detach', 'the first time'],
    ['skerry agent --detach', 'from then on'],
  ],
  down: [
    ['skerry down', 'guests go on; the next `up` finds them'],
    ['skerry down --purge --yes', 'nothing is left'],
  ],
  apply: [
    ['skerry apply -f app.yaml --wait'],
    ['skerry apply -f network.yaml -f app.yaml', 'one file after the other'],
    ['generate | skerry apply -f -'],
  ],
  plan: [['skerry plan -f app.yaml', 'with every node’s why']],
  'workload list': [
    ['skerry workload list -l app=web,!old'],
    ['skerry workload list -o json | jq ".[].status"'],
  ],
  'workload exec': [
    ['skerry workload exec web -- ps'],
    ['skerry workload exec -t -i web -- /bin/sh', 'a shell'],
    ['skerry workload exec -i web -- tar -x <a.tar'],
  ],
  'workload logs': [
    ['skerry workload logs web --follow --tail 20'],
    ['skerry workload logs web --previous', 'of the run before it was started again'],
  ],
  'workload restore': [
    ['skerry workload snapshot harbour before-upgrade'],
    ['skerry workload restore harbour before-upgrade'],
  ],
  'function create': [
    ['skerry function create mean --from mean.ts --publish 18090 --wait'],
    ['curl http://127.0.0.1:18090/'],
  ],
  'image import': [
    ['skerry image import app.tar', 'docker save, OCI: it says its name'],
    ['skerry image import disk.qcow2 --name debian:12'],
    ['skerry image import ./rootfs --name box:1', 'a folder'],
  ],
  'image pull': [
    ['skerry image pull registry.example/team/app:1.2'],
    ['SKERRY_REGISTRY_PASSWORD=… skerry image pull --username me REFERENCE'],
  ],
  'volume create': [['skerry volume create data --size 10GiB']],
  'device create': [
    ['skerry device create th-1 --label room=a', 'a password, shown once'],
    ['skerry device create cam-1 --auth certificate --folder .'],
    ['skerry device create cam-2 --csr cam-2.csr', 'its key stays where it is'],
  ],
  'device shadow': [
    ['skerry device shadow lamp-1'],
    ['skerry device shadow lamp-1 --set on=true --set colour.r=9'],
  ],
  'node token': [
    ['skerry node token --name harbour-1', 'good for one machine and an hour'],
    ['skerry node token --valid 24h'],
  ],
  'access-point import': [
    ['skerry access-point import stations.csv --nearest-site'],
    ['skerry access-point import map.geojson --dry-run'],
  ],
  'client move': [['skerry client move phone-1 tower-2']],
  'lab up': [['skerry lab up examples/labs/harbour.yaml --wait'], ['skerry lab status']],
  'lab exec': [['skerry lab exec phone-1 -- ping -c 3 distant-node']],
  'lab change': [['skerry lab change backbone --latency 80ms --loss 30%']],
  completion: [
    ['source <(skerry completion bash)', 'this shell'],
    ['skerry completion bash > /etc/bash_completion.d/skerry', 'every shell from now on'],
    ['skerry completion zsh > /usr/local/share/zsh/site-functions/_skerry'],
    ['skerry completion fish > ~/.config/fish/completions/skerry.fish'],
  ],
  'event watch': [['skerry event watch --kind Instance --name web-0']],
};

const COMMENT_AT = 44;
const WIDTH = 80;

/** A comment that does not fit behind its command stands above it. */
function lineOf([text, about]: Example): string {
  if (about === undefined) return `  ${text}`;
  const line = `  ${text.padEnd(COMMENT_AT)}  # ${about}`;
  return line.length <= WIDTH ? line : `  # ${about}\n  ${text}`;
}

export function addExamples(program: Command): void {
  for (const [path, examples] of Object.entries(EXAMPLES)) {
    const command = path
      .split(' ')
      .reduce<Command | undefined>((at, name) => at?.commands.find((sub) => sub.name() === name), program);
    if (!command) throw new Error(`there are examples for "${path}", and no such command`);
    command.addHelpText('after', `\nExamples:\n${examples.map(lineOf).join('\n')}`);
  }
}
