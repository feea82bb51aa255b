// The glue between the kernel and the function: console, module, requests, answers. ES5 only. `native` is the kernel's
// (src/js_native.c). What it answers to the kernel is plain: {status, type, headers, body, problem}.
var stringify = JSON.stringify;

function show(value, depth) {
  if (typeof value === 'string') return depth ? stringify(value) : value;
  if (value instanceof Error) return String(value.stack || value);
  if (typeof value === 'function') return '[function ' + (value.name || '') + ']';
  if (value instanceof Map) return 'Map ' + show(Array.from(value), 1);
  if (value instanceof Set) return 'Set ' + show(Array.from(value), 1);
  if (value && typeof value === 'object') {
    try {
      return stringify(value);
    } catch (error) {
      return '[object: ' + error.message + ']';
    }
  }
  return String(value);
}
function logger(level) {
  return function () {
    native.log(
      level,
      Array.prototype.map
        .call(arguments, function (value) {
          return show(value, 0);
        })
        .join(' ')
    );
  };
}
var consoleObject = { debug: logger(0), log: logger(1), info: logger(1), warn: logger(2), error: logger(3) };
consoleObject.trace = consoleObject.debug;
consoleObject.assert = function (ok) {
  if (!ok) consoleObject.error('assertion failed', Array.prototype.slice.call(arguments, 1));
};
var processObject = { env: native.env };
define(globalThis, { console: consoleObject, process: processObject });
delete globalThis.Duktape;

var handle, readings;
function load(evaluate) {
  var module = { exports: {} };
  evaluate.call(
    module.exports,
    module.exports,
    function (name) {
      throw new Error("there are no modules: require('" + name + "')");
    },
    module,
    consoleObject,
    processObject
  );
  var found = module.exports,
    standIn = found && found.default;
  handle = typeof found === 'function' ? found : found && found.handle;
  readings = found && found.readings;
  if (typeof standIn === 'function') handle = handle || standIn;
  else if (standIn) {
    handle = handle || standIn.handle;
    readings = readings || standIn.readings;
  }
  if (handle !== undefined && typeof handle !== 'function') throw new TypeError('handle is not a function');
  if (readings !== undefined && typeof readings !== 'function')
    throw new TypeError('readings is not a function');
  if (!handle && !readings) throw new TypeError('the module exports neither handle nor readings');
}

function decode(text) {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return text;
  }
}
function parseQuery(text) {
  var query = {};
  text.split('&').forEach(function (part) {
    var at = part.indexOf('=');
    if (part)
      Object.defineProperty(query, decode((at < 0 ? part : part.slice(0, at)).replace(/\+/g, ' ')), {
        value: at < 0 ? '' : decode(part.slice(at + 1).replace(/\+/g, ' ')),
        enumerable: true,
        writable: true,
        configurable: true,
      });
  });
  return query;
}

function isBytes(value) {
  return value instanceof Uint8Array || value instanceof ArrayBuffer;
}
function isAnswer(value) {
  if (typeof value.status !== 'number' || value.status < 200 || value.status > 599 || value.status % 1)
    return false;
  return Object.keys(value).every(function (key) {
    return key === 'status' || key === 'headers' || key === 'body';
  });
}
function bodyOf(answer, value) {
  if (typeof value === 'string') {
    answer.type = 'text/plain; charset=utf-8';
    answer.body = value;
  } else if (isBytes(value)) {
    answer.type = 'application/octet-stream';
    answer.body = value;
  } else if (value !== undefined && value !== null) {
    answer.type = 'application/json';
    answer.body = stringify(value);
    if (answer.body === undefined) throw new TypeError('the answer has no JSON form');
    answer.body += '\n';
  }
  return answer;
}
var OWN = {
  'content-length': 1,
  connection: 1,
  'transfer-encoding': 1,
  'keep-alive': 1,
  upgrade: 1,
  trailer: 1,
};
function headerLines(answer, headers) {
  answer.headers = '';
  Object.keys(headers).forEach(function (name) {
    (Array.isArray(headers[name]) ? headers[name] : [headers[name]]).forEach(function (value) {
      value = String(value);
      if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name) || !/^[\x20-\x7e\t]*$/.test(value))
        throw new TypeError('answer header ' + stringify(name) + ' has a character that HTTP forbids');
      if (OWN[name.toLowerCase()]) return;
      if (name.toLowerCase() === 'content-type' && value.length <= 200) answer.type = value;
      else answer.headers += name + ': ' + value + '\r\n';
    });
  });
}
function answerOf(value) {
  if (value === undefined || value === null) return { status: 204 };
  if (typeof value !== 'object' || isBytes(value) || !isAnswer(value)) return bodyOf({ status: 200 }, value);
  var answer = bodyOf({ status: value.status }, value.body);
  if (value.headers) headerLines(answer, value.headers);
  return answer;
}

function kindOf(type) {
  type = String(type || '')
    .split(';')[0]
    .trim()
    .toLowerCase();
  if (type === 'text/csv') return 'csv';
  if (type === 'application/json') return 'json';
  return type === 'application/x-ndjson' || type === 'application/jsonl' || type === 'application/ndjson'
    ? 'lines'
    : '';
}
function rowsOf(body, type) {
  try {
    // JSON lines are often sent as application/json: more than one object isn't a JSON text.
    var kind = kindOf(type);
    if (kind === 'json' && /^\s*\{/.test(body)) kind = /\}\s*\n\s*\{/.test(body) ? 'lines' : 'json';
    return { rows: native.rows(body, kind) };
  } catch (error) {
    if (!(error instanceof SyntaxError) && !/recursion|depth/.test(error.message)) throw error;
    return { problem: 'line ' + native.rowLine() + ': ' + error.message };
  }
}

function dispatch(method, path, query, headers, body, remote) {
  path = decode(path);
  if (readings && method === 'POST' && path === '/readings') {
    var parsed = rowsOf(body, headers['content-type']);
    return parsed.problem ? { status: 400, problem: parsed.problem } : answerOf(readings(parsed.rows));
  }
  if (!handle) return { status: 404, problem: 'this function takes POST /readings only' };
  return answerOf(
    handle({
      method: method,
      path: path,
      query: query ? parseQuery(query) : {},
      headers: headers,
      body: body,
      remote: remote,
    })
  );
}
