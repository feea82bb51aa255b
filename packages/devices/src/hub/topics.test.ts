// Topics and filters, held against MQTT 5, section 4.7.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { covers, isTopic, matches, TopicTrie } from './topics.ts';

test.each([
  ['sport/tennis/#', 'sport/tennis', true],
  ['sport/tennis/#', 'sport/tennis/player1/ranking', true],
  ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
  ['sport/+', 'sport', false],
  ['sport/+', 'sport/', true],
  ['+/+', '/finance', true],
  ['+', '/finance', false],
  ['#', '$SYS/monitor', false],
  ['+/monitor', '$SYS/monitor', false],
  ['$SYS/#', '$SYS/monitor', true],
])('%s against %s: %s', (filter, topic, expected) => {
  expect(matches(filter, topic)).toBe(expected);
});

test('a topic has no wildcard, no NUL, and at most 1,024 bytes', () => {
  for (const wrong of ['', 'a/#', 'a/+/b', 'a\u0000', 'ä'.repeat(513)]) expect(isTopic(wrong)).toBe(false);
  expect(isTopic('devices/a/b')).toBe(true);
});

const word = fc.constantFrom('a', 'b', '', '$c');
const topics = fc.array(word, { minLength: 1, maxLength: 4 }).map((words) => words.join('/'));
const filters = fc
  .tuple(
    fc.array(fc.oneof(word, fc.constant('+')), { minLength: 1, maxLength: 4 }),
    fc.constantFrom('', '/#'),
  )
  .map(([words, end]) => words.join('/') + end);

test('the trie finds what comparing one by one finds', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(filters, fc.constant('#')), { maxLength: 8 }), topics, (all, topic) => {
      const trie = new TopicTrie<string>();
      for (const filter of all) trie.add(filter, filter);
      const expected = new Set(all.filter((filter) => matches(filter, topic)));
      expect(trie.find(topic)).toEqual(expected);
    }),
    { numRuns: 1000 },
  );
});

test('what is covered has no topic that the cover has not', () => {
  fc.assert(
    fc.property(filters, filters, topics, (by, filter, topic) => {
      if (covers(by, filter) && matches(filter, topic)) expect(matches(by, topic)).toBe(true);
    }),
    { numRuns: 2000 },
  );
  expect(covers('devices/a/#', 'devices/a/+/x')).toBe(true);
  expect(covers('devices/a/#', 'devices/+/x')).toBe(false);
  expect(covers('devices/+', 'devices/#')).toBe(false);
  expect(covers('#', '$SYS/#')).toBe(false);
});
