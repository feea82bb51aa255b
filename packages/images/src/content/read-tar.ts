/** An archive of files, entry by entry, whoever made it. */
import { type Extract, extract } from 'tar-stream';

/**
 * As `extract`. It takes a size of base 256 that does not begin as such a number must (POSIX leaves it to GNU tar: 0x80 or
 * 0xff) for none at all, and waits for the end of that entry for ever: here it is refused.
 */
export function readTar(): Extract {
  const tar = extract();
  tar.on('entry', ({ name, size }) => {
    if ((size as number | null | undefined) === null)
      tar.destroy(new Error(`the size of the entry "${name}" can not be read`));
  });
  return tar;
}
