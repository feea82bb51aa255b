/**
 * Classes that extend what the engine brings. ES5 has no way to say it: `Error.call(this)` makes an error of its own, so that
 * the methods of the class and `instanceof` are lost without a word. For errors the prototype is put right after super();
 * for the rest there is no remedy, and the user is told.
 */
import type * as TS from 'typescript-es5';

const ERRORS = new Set(
  ['', 'Eval', 'Range', 'Reference', 'Syntax', 'Type', 'URI'].map((kind) => `${kind}Error`),
);
const REFUSED = new Set(
  'Array ArrayBuffer Boolean DataView Date Function Map Number Promise Proxy RegExp Set String Symbol WeakMap WeakSet'
    .concat(' Float32Array Float64Array Int16Array Int32Array Int8Array Uint16Array Uint32Array Uint8Array')
    .split(' '),
);

/** The name in `extends NAME`. */
function baseOf(ts: typeof TS, node: TS.Node): string | undefined {
  if (!ts.isClassLike(node)) return undefined;
  const clause = node.heritageClauses?.find((one) => one.token === ts.SyntaxKind.ExtendsKeyword);
  const base = clause?.types[0]?.expression;
  return base && ts.isIdentifier(base) ? base.text : undefined;
}

/** Why a class can't be lowered; undefined where it can. `declared`: names that are the user's own. */
export function judgeBase(ts: typeof TS, node: TS.Node, declared: ReadonlySet<string>): string | undefined {
  const base = baseOf(ts, node);
  return base !== undefined && REFUSED.has(base) && !declared.has(base)
    ? `a class can not extend ${base} in this engine: keep one in a field`
    : undefined;
}

/** `Object.setPrototypeOf(this, new.target.prototype)` after the super() of every class that extends an error. */
export function repairErrors(
  ts: typeof TS,
  declared: ReadonlySet<string>,
): TS.TransformerFactory<TS.SourceFile> {
  return (context) => {
    const { factory } = context;
    const repair = () =>
      factory.createExpressionStatement(
        factory.createCallExpression(
          factory.createPropertyAccessExpression(factory.createIdentifier('Object'), 'setPrototypeOf'),
          undefined,
          [
            factory.createThis(),
            factory.createPropertyAccessExpression(
              factory.createMetaProperty(ts.SyntaxKind.NewKeyword, factory.createIdentifier('target')),
              'prototype',
            ),
          ],
        ),
      );
    const isSuper = (statement: TS.Statement) =>
      ts.isExpressionStatement(statement) &&
      ts.isCallExpression(statement.expression) &&
      statement.expression.expression.kind === ts.SyntaxKind.SuperKeyword;
    const repaired = (member: TS.ConstructorDeclaration & { readonly body: TS.Block }) =>
      factory.updateConstructorDeclaration(
        member,
        member.modifiers,
        member.parameters,
        factory.updateBlock(
          member.body,
          member.body.statements.flatMap((one) => (isSuper(one) ? [one, repair()] : [one])),
        ),
      );
    const fresh = () => {
      const all = factory.createIdentifier('all');
      const call = factory.createCallExpression(factory.createSuper(), undefined, [
        factory.createSpreadElement(all),
      ]);
      const rest = factory.createToken(ts.SyntaxKind.DotDotDotToken);
      return factory.createConstructorDeclaration(
        undefined,
        [factory.createParameterDeclaration(undefined, rest, all)],
        factory.createBlock([factory.createExpressionStatement(call), repair()]),
      );
    };
    const membersOf = (node: TS.ClassLikeDeclaration): TS.ClassElement[] => {
      const hasBody = (
        member: TS.ClassElement,
      ): member is TS.ConstructorDeclaration & { readonly body: TS.Block } =>
        ts.isConstructorDeclaration(member) && member.body !== undefined;
      const members = node.members.map((member) => (hasBody(member) ? repaired(member) : member));
      return node.members.some(hasBody) ? members : [...members, fresh()];
    };
    const visit = (given: TS.Node): TS.Node => {
      const node = ts.visitEachChild(given, visit, context);
      const base = baseOf(ts, node);
      if (base === undefined || !ERRORS.has(base) || declared.has(base)) return node;
      const { modifiers, name, typeParameters, heritageClauses } = node as TS.ClassLikeDeclaration;
      const members = membersOf(node as TS.ClassLikeDeclaration);
      return ts.isClassDeclaration(node)
        ? factory.updateClassDeclaration(node, modifiers, name, typeParameters, heritageClauses, members)
        : factory.updateClassExpression(
            node as TS.ClassExpression,
            modifiers,
            name,
            typeParameters,
            heritageClauses,
            members,
          );
    };
    return (file) => ts.visitEachChild(file, visit, context);
  };
}
