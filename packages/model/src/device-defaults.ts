/** What a device may do where its manifest does not say otherwise. */

/** Its own topics; `%d` stands for its name. */
export const DEFAULT_DEVICE_TOPICS = {
  publish: ['devices/%d/#'],
  subscribe: ['devices/%d/#', 'commands/%d/#'],
} as const;
