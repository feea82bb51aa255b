/**
 * The document that makes a lab of an access network: where the nodes and the controller stand, what is imported and applied.
 * Sites, access points, links and clients are the resources that they are everywhere else.
 */
import { closed, Duration, manifest, Name } from '@skerry/model/schema';
import Type, { type Static } from 'typebox';

const Path = Type.String({
  minLength: 1,
  maxLength: 4096,
  description: 'A path, from the folder of the lab file',
});

export const LabSpec = Type.Object(
  {
    controller: Type.Object(
      {
        site: Name,
        lostAfter: Type.Optional(Duration),
      },
      closed,
    ),
    nodes: Type.Array(Type.Object({ name: Name, site: Name }, closed), {
      minItems: 1,
      maxItems: 32,
      description: 'Machines with an agent each',
    }),
    images: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
            file: Type.Optional(Path),
            function: Type.Optional(Path),
          },
          closed,
        ),
        { maxItems: 32 },
      ),
    ),
    apply: Type.Optional(
      Type.Array(Path, { maxItems: 32, description: 'Manifests besides those of the lab file' }),
    ),
  },
  closed,
);
export const LabManifest = manifest('Lab', LabSpec);
export type LabManifest = Static<typeof LabManifest>;
export type LabSpec = Static<typeof LabSpec>;
