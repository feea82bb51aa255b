/** Constructs that have no lowering for pebble's engine: found in the tree, so that the user hears of them with their line. */
import type * as TS from 'typescript-es5';
import { judgeBase } from './builtin-classes.ts';

export interface Refused {
  readonly node: TS.Node;
  readonly message: string;
}

const NO_TIMERS = 'the guest has no timers: a function runs when it is asked';
const NO_NETWORK = 'the guest makes no requests of its own: answer with what the caller is to do';
const NO_BROWSER = 'the guest is no browser';
const absent = (name: string) => `the engine has no ${name}`;

/** Names that other engines know and this one does not (guests/pebble/README.md, "Language and library"). */
const MISSING_GLOBALS: Readonly<Record<string, string>> = {
  Promise: 'the guest has no Promise: a function answers at once',
  queueMicrotask: 'the guest has no event loop',
  BigInt: 'the engine has no BigInt: use numbers, or text for large ones',
  structuredClone: 'the engine has no structuredClone: JSON.parse(JSON.stringify(value)) copies plain values',
  fetch: NO_NETWORK,
  XMLHttpRequest: NO_NETWORK,
  WebSocket: NO_NETWORK,
  EventSource: NO_NETWORK,
  setTimeout: NO_TIMERS,
  setInterval: NO_TIMERS,
  setImmediate: NO_TIMERS,
  window: NO_BROWSER,
  document: NO_BROWSER,
  localStorage: NO_BROWSER,
  ...Object.fromEntries(
    'AbortController Atomics BigInt64Array BigUint64Array Buffer Deno FinalizationRegistry Intl SharedArrayBuffer URL'
      .concat(' URLSearchParams WeakRef WebAssembly crypto')
      .split(' ')
      .map((name) => [name, absent(name)]),
  ),
};

/** The first such construct in the order of the text; undefined where all can be lowered. */
export function findRefused(
  ts: typeof TS,
  file: TS.SourceFile,
  declared: ReadonlySet<string>,
): Refused | undefined {
  const judge = (node: TS.Node): string | undefined => {
    const { SyntaxKind } = ts;
    if (ts.isFunctionLike(node)) {
      const modifiers = ts.canHaveModifiers(node) ? ts.getModifiers(node) : undefined;
      if (modifiers?.some((one) => one.kind === SyntaxKind.AsyncKeyword))
        return 'async functions can not be lowered: the guest has no Promise and no event loop';
      if ((node as TS.FunctionLikeDeclarationBase).asteriskToken)
        return 'generators can not be lowered for this engine: build an array instead';
    }
    if (ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier))
      return 'await can not be lowered: the guest has no event loop';
    if (ts.isBigIntLiteral(node)) return 'BigInt can not be lowered: use numbers, or text for large ones';
    if (ts.isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword)
      return 'import() can not be lowered: a function is one file';
    if (ts.isImportDeclaration(node) && !typesOnly(node))
      return 'import can not be lowered: a function is one file without modules';
    if (ts.isImportEqualsDeclaration(node))
      return 'import can not be lowered: a function is one file without modules';
    if (ts.isExportDeclaration(node) && node.moduleSpecifier && !node.isTypeOnly)
      return 'export … from can not be lowered: a function is one file without modules';
    if (ts.isMetaProperty(node) && node.keywordToken === SyntaxKind.ImportKeyword)
      return 'import.meta can not be lowered: a function is one file without modules';
    if (ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.Using) === ts.NodeFlags.Using)
      return 'using can not be lowered for this engine: write try … finally';
    if (node.kind === SyntaxKind.SuperKeyword) return judgeSuper(ts, node);
    const base = judgeBase(ts, node, declared);
    if (base) return base;
    if (ts.isDecorator(node)) return 'decorators can not be lowered for this engine';
    if (ts.isWithStatement(node)) return 'with is not allowed in strict code';
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf('/');
      return judgeRegularExpression(node.text.slice(1, end), node.text.slice(end + 1));
    }
    if (
      (ts.isNewExpression(node) || ts.isCallExpression(node)) &&
      ts.isIdentifier(node.expression) &&
      node.expression.text === 'RegExp' &&
      !declared.has('RegExp')
    ) {
      const [pattern, flags] = (node.arguments ?? []).map((one) =>
        ts.isStringLiteralLike(one) ? one.text : '',
      );
      const bad = judgeRegularExpression(pattern ?? '', flags ?? '');
      if (bad) return bad;
    }
    if (ts.isTaggedTemplateExpression(node) && node.tag.getText(file) === 'String.raw')
      return 'the engine has no String.raw';
    if (
      ts.isCallExpression(node) &&
      ts.isIdentifier(node.expression) &&
      node.expression.text === 'require' &&
      !declared.has('require')
    ) {
      return 'require finds no modules in the guest: a function is one file';
    }
    if (
      ts.isIdentifier(node) &&
      Object.hasOwn(MISSING_GLOBALS, node.text) &&
      !declared.has(node.text) &&
      isReference(ts, node)
    ) {
      return MISSING_GLOBALS[node.text];
    }
    return undefined;
  };
  const visit = (node: TS.Node): Refused | undefined => {
    if (ts.isTypeNode(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node))
      return undefined;
    const message = judge(node);
    if (message) return { node, message };
    return ts.forEachChild(node, visit);
  };
  return visit(file);
}

/** ES5 has no super: the compiler writes the parent's prototype, which is right for calls of methods of classes only. */
function judgeSuper(ts: typeof TS, node: TS.Node): string | undefined {
  const { parent } = node;
  if (ts.isCallExpression(parent)) return undefined; // super(…)
  const call = parent.parent;
  if (!ts.isCallExpression(call) || call.expression !== parent)
    return 'super.x can only be called here, not read or set: call a method, super.x()';
  let holder: TS.Node = call;
  while (holder.parent && !ts.isClassElement(holder) && !ts.isObjectLiteralElement(holder))
    holder = holder.parent;
  return ts.isObjectLiteralExpression(holder.parent)
    ? 'super in an object literal can not be lowered: write a class'
    : undefined;
}

const typesOnly = (node: TS.ImportDeclaration) => node.importClause?.isTypeOnly === true;

function judgeRegularExpression(pattern: string, flags: string): string | undefined {
  const strange = [...flags].find((flag) => !'gim'.includes(flag));
  if (strange) return `the engine knows the flags g, i and m of regular expressions, not ${strange}`;
  if (/\(\?<[=!]/.test(pattern)) return 'the engine has no look-behind in regular expressions';
  if (/\(\?<[A-Za-z_$]/.test(pattern))
    return 'the engine has no named groups in regular expressions: count them';
  if (/\\[pP]\{/.test(pattern)) return 'the engine has no Unicode classes in regular expressions';
  return undefined;
}

/** Whether an identifier stands for a value here, not for a property or a label. */
function isReference(ts: typeof TS, node: TS.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.expression === node;
  if (ts.isPropertyAssignment(parent) || ts.isMethodDeclaration(parent) || ts.isPropertyDeclaration(parent))
    return parent.name !== node;
  if (ts.isBindingElement(parent)) return parent.propertyName !== node;
  if (ts.isExportSpecifier(parent)) return (parent.propertyName ?? parent.name) === node;
  if (ts.isTypeReferenceNode(parent) || ts.isExpressionWithTypeArguments(parent)) return false;
  return true;
}
