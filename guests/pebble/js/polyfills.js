// What lowered modern code calls and Duktape 2.7 lacks. ES5 only. Evaluated before the prelude, in its scope.
// A method that the engine has stays the engine's.
function define(target, methods) {
  Object.keys(methods).forEach(function (name) {
    if (!(name in target))
      Object.defineProperty(target, name, { value: methods[name], writable: true, configurable: true });
  });
}
function defineIterator(target, make) {
  Object.defineProperty(target, Symbol.iterator, { value: make, writable: true, configurable: true });
}
// An iterator over next(): a function that answers undefined at the end, else [value].
function iterate(next) {
  var iterator = {
    next: function () {
      var step = next();
      return step ? { value: step[0], done: false } : { value: undefined, done: true };
    },
  };
  defineIterator(iterator, function () {
    return iterator;
  });
  return iterator;
}
function over(list, pick) {
  var at = 0;
  return iterate(function () {
    return at < list.length ? [pick(list, at++)] : undefined;
  });
}
function each(source, visit) {
  var make = source[Symbol.iterator];
  if (!make) {
    for (var i = 0; i < source.length; i++) visit(source[i], i);
    return;
  }
  var iterator = make.call(source);
  for (var n = 0, step = iterator.next(); !step.done; step = iterator.next()) visit(step.value, n++);
}
function index(at, length, missing) {
  at = at === undefined ? missing : Math.trunc(at) || 0;
  return at < 0 ? Math.max(length + at, 0) : Math.min(at, length);
}
function search(list, test, self, from, step) {
  for (var i = from; i >= 0 && i < list.length; i += step) if (test.call(self, list[i], i, list)) return i;
  return -1;
}
function flatten(list, depth, out) {
  for (var i = 0; i < list.length; i++) {
    if (Array.isArray(list[i]) && depth > 0) flatten(list[i], depth - 1, out);
    else if (i in list) out.push(list[i]);
  }
  return out;
}

define(Object, {
  assign: function (target) {
    for (var i = 1; i < arguments.length; i++) {
      var source = arguments[i];
      if (source !== null && source !== undefined)
        Object.keys(source).forEach(function (key) {
          target[key] = source[key];
        });
    }
    return target;
  },
  values: function (o) {
    return Object.keys(o).map(function (key) {
      return o[key];
    });
  },
  entries: function (o) {
    return Object.keys(o).map(function (key) {
      return [key, o[key]];
    });
  },
  fromEntries: function (entries) {
    var o = {};
    each(entries, function (entry) {
      o[entry[0]] = entry[1];
    });
    return o;
  },
  hasOwn: function (o, key) {
    return Object.prototype.hasOwnProperty.call(o, key);
  },
});
define(Number, {
  isFinite: function (n) {
    return typeof n === 'number' && isFinite(n);
  },
  isNaN: function (n) {
    return typeof n === 'number' && isNaN(n);
  },
  isInteger: function (n) {
    return typeof n === 'number' && isFinite(n) && Math.floor(n) === n;
  },
  isSafeInteger: function (n) {
    return Number.isInteger(n) && Math.abs(n) <= 9007199254740991;
  },
  parseFloat: parseFloat,
  parseInt: parseInt,
  EPSILON: Math.pow(2, -52),
  MAX_SAFE_INTEGER: 9007199254740991,
  MIN_SAFE_INTEGER: -9007199254740991,
});
define(Math, {
  trunc: function (x) {
    return x < 0 ? Math.ceil(x) : Math.floor(x);
  },
  sign: function (x) {
    x = +x;
    return x > 0 ? 1 : x < 0 ? -1 : x;
  },
  cbrt: function (x) {
    var y = Math.pow(Math.abs(x), 1 / 3);
    return x < 0 ? -y : y;
  },
  log2: function (x) {
    return Math.log(x) / Math.LN2;
  },
  log10: function (x) {
    return Math.log(x) / Math.LN10;
  },
  log1p: function (x) {
    return Math.abs(x) < 1e-5 ? x - (x * x) / 2 : Math.log(1 + x);
  },
  expm1: function (x) {
    return Math.abs(x) < 1e-5 ? x + (x * x) / 2 : Math.exp(x) - 1;
  },
  sinh: function (x) {
    return (Math.exp(x) - Math.exp(-x)) / 2;
  },
  cosh: function (x) {
    return (Math.exp(x) + Math.exp(-x)) / 2;
  },
  tanh: function (x) {
    return x > 20 ? 1 : x < -20 ? -1 : (Math.exp(2 * x) - 1) / (Math.exp(2 * x) + 1);
  },
  imul: function (a, b) {
    return ((a & 65535) * b + ((((a >>> 16) * b) & 65535) << 16)) | 0;
  },
  fround: function (x) {
    return new Float32Array([x])[0];
  },
  clz32: function (x) {
    x >>>= 0;
    return x ? 31 - Math.floor(Math.log(x + 0.5) / Math.LN2) : 32;
  },
  hypot: function () {
    for (var sum = 0, i = 0; i < arguments.length; i++) sum += arguments[i] * arguments[i];
    return Math.sqrt(sum);
  },
});
define(Array, {
  from: function (source, map, self) {
    var out = [];
    each(source, function (value, i) {
      out.push(map ? map.call(self, value, i) : value);
    });
    return out;
  },
  of: function () {
    return Array.prototype.slice.call(arguments);
  },
});
define(Array.prototype, {
  includes: function (wanted, from) {
    for (var i = index(from, this.length, 0); i < this.length; i++)
      if (this[i] === wanted || (wanted !== wanted && this[i] !== this[i])) return true;
    return false;
  },
  find: function (test, self) {
    return this[search(this, test, self, 0, 1)];
  },
  findIndex: function (test, self) {
    return search(this, test, self, 0, 1);
  },
  findLast: function (test, self) {
    return this[search(this, test, self, this.length - 1, -1)];
  },
  findLastIndex: function (test, self) {
    return search(this, test, self, this.length - 1, -1);
  },
  fill: function (value, from, to) {
    to = index(to, this.length, this.length);
    for (var i = index(from, this.length, 0); i < to; i++) this[i] = value;
    return this;
  },
  flat: function (depth) {
    return flatten(this, depth === undefined ? 1 : depth, []);
  },
  flatMap: function (map, self) {
    return flatten(this.map(map, self), 1, []);
  },
  at: function (i) {
    i = Math.trunc(i) || 0;
    return this[i < 0 ? this.length + i : i];
  },
  keys: function () {
    return over(this, function (list, i) {
      return i;
    });
  },
  values: function () {
    return over(this, function (list, i) {
      return list[i];
    });
  },
  entries: function () {
    return over(this, function (list, i) {
      return [i, list[i]];
    });
  },
  copyWithin: function (to, from, end) {
    var part = this.slice(from, end);
    to = index(to, this.length, 0);
    for (var i = 0; i < part.length && to + i < this.length; i++) this[to + i] = part[i];
    return this;
  },
});
defineIterator(Array.prototype, Array.prototype.values);
define(String.prototype, {
  includes: function (part, from) {
    return String(this).indexOf(part, from) >= 0;
  },
  startsWith: function (part, from) {
    return String(this).substr(from || 0, String(part).length) === String(part);
  },
  endsWith: function (part, end) {
    var text = String(this).slice(0, end);
    return text.slice(Math.max(0, text.length - String(part).length)) === String(part);
  },
  repeat: function (count) {
    count = Math.trunc(count) || 0;
    if (count < 0 || count === Infinity) throw new RangeError('invalid count');
    for (var out = '', unit = String(this); count > 0; count >>>= 1, unit = count ? unit + unit : unit)
      if (count & 1) out += unit;
    return out;
  },
  padStart: function (length, fill) {
    return pad(this, length, fill) + String(this);
  },
  padEnd: function (length, fill) {
    return String(this) + pad(this, length, fill);
  },
  trimStart: function () {
    return String(this).replace(/^\s+/, '');
  },
  trimEnd: function () {
    return String(this).replace(/\s+$/, '');
  },
  at: function (i) {
    i = Math.trunc(i) || 0;
    return String(this)[i < 0 ? this.length + i : i];
  },
  replaceAll: function (part, by) {
    if (part instanceof RegExp) return String(this).replace(part, by);
    if (typeof by !== 'function') return String(this).split(part).join(by);
    return String(this)
      .split(part)
      .reduce(function (all, piece) {
        return all + by(part) + piece;
      });
  },
});
function pad(text, length, fill) {
  fill = fill === undefined ? ' ' : String(fill);
  var missing = length - String(text).length;
  return missing > 0 && fill ? fill.repeat(Math.ceil(missing / fill.length)).slice(0, missing) : '';
}
// Characters, not halves of them.
defineIterator(String.prototype, function () {
  var text = String(this),
    at = 0;
  return iterate(function () {
    if (at >= text.length) return undefined;
    var code = text.charCodeAt(at),
      pair = code >= 0xd800 && code < 0xdc00 && at + 1 < text.length;
    var size = pair && (text.charCodeAt(at + 1) & 0xfc00) === 0xdc00 ? 2 : 1;
    at += size;
    return [text.substr(at - size, size)];
  });
});
