// Map, Set, WeakMap and WeakSet for an engine without them. Entries are a linked list in order of insertion, so that an
// iterator survives whatever is added or removed on the way; an index finds text and numbers by value and objects by a
// hidden number in them. What can't carry that number (symbols, frozen objects) is searched for.
var serial = 0,
  MARK = Symbol('id');
function nameOf(key) {
  var type = typeof key;
  if (type === 'string') return 's' + key;
  if (type === 'symbol') return undefined;
  if (key === null || (type !== 'object' && type !== 'function')) return type + String(key);
  if (!Object.prototype.hasOwnProperty.call(key, MARK)) {
    if (!Object.isExtensible(key)) return undefined;
    Object.defineProperty(key, MARK, { value: 'o' + ++serial });
  }
  return key[MARK];
}
// The entry behind `entry`, the first one without it; from a removed entry by way of its nearest living predecessor.
function following(store, entry) {
  while (entry && entry.removed) entry = entry.previous;
  return entry ? entry.next : store.first;
}
function locate(store, key) {
  var name = nameOf(key);
  if (name !== undefined) return store.index[name];
  for (var entry = store.first; entry; entry = entry.next) if (entry.key === key) return entry;
  return undefined;
}
function empty(store) {
  for (var entry = store.first; entry; entry = entry.next) {
    entry.removed = true;
    entry.previous = undefined;
  }
  store.index = Object.create(null);
  store.first = store.last = undefined;
  store.size = 0;
}
function put(store, key, value) {
  var entry = locate(store, key);
  if (entry) {
    entry.value = value;
    return;
  }
  entry = { key: key === 0 ? 0 : key, value: value, previous: store.last, next: undefined, removed: false };
  if (store.last) store.last.next = entry;
  else store.first = entry;
  store.last = entry;
  store.size++;
  var name = nameOf(key);
  if (name !== undefined) store.index[name] = entry;
}
function remove(store, key) {
  var entry = locate(store, key);
  if (!entry) return false;
  var name = nameOf(key);
  if (name !== undefined) delete store.index[name];
  if (entry.previous) entry.previous.next = entry.next;
  else store.first = entry.next;
  if (entry.next) entry.next.previous = entry.previous;
  else store.last = entry.previous;
  entry.removed = true;
  store.size--;
  return true;
}
function walk(store, pick) {
  var entry,
    ended = false;
  return iterate(function () {
    if (ended) return undefined;
    entry = following(store, entry);
    if (entry) return [pick(entry)];
    ended = true;
    return undefined;
  });
}
function keyOf(entry) {
  return entry.key;
}
function valueOf(entry) {
  return entry.value;
}
function pairOf(entry) {
  return [entry.key, entry.value];
}

function collection(name, add, methods, walkable) {
  function Type(entries) {
    if (!(this instanceof Type)) throw new TypeError(name + ' needs new');
    var self = this,
      store = {};
    empty(store);
    Object.defineProperty(this, '_store', { value: store });
    if (entries !== undefined && entries !== null)
      each(entries, function (entry) {
        add(self, entry);
      });
  }
  function method(key, fn) {
    Object.defineProperty(Type.prototype, key, { value: fn, writable: true, configurable: true });
  }
  Object.keys(methods).forEach(function (key) {
    method(key, methods[key]);
  });
  method('has', function (key) {
    return locate(this._store, key) !== undefined;
  });
  method('delete', function (key) {
    return remove(this._store, key);
  });
  if (walkable) {
    method('clear', function () {
      empty(this._store);
    });
    method('keys', function () {
      return walk(this._store, keyOf);
    });
    method('values', function () {
      return walk(this._store, valueOf);
    });
    method('entries', function () {
      return walk(this._store, pairOf);
    });
    method('forEach', function (visit, self) {
      for (var entry = following(this._store); entry; entry = following(this._store, entry))
        visit.call(self, entry.value, entry.key, this);
    });
    defineIterator(Type.prototype, walkable === 'pairs' ? Type.prototype.entries : Type.prototype.values);
    Object.defineProperty(Type.prototype, 'size', {
      get: function () {
        return this._store.size;
      },
      configurable: true,
    });
  }
  Object.defineProperty(Type, 'name', { value: name, configurable: true });
  var exported = {};
  exported[name] = Type;
  define(globalThis, exported);
}
var mapMethods = {
  get: function (key) {
    var entry = locate(this._store, key);
    return entry && entry.value;
  },
  set: function (key, value) {
    put(this._store, key, value);
    return this;
  },
};
var setMethods = {
  add: function (key) {
    put(this._store, key, key);
    return this;
  },
};
function addPair(map, entry) {
  map.set(entry[0], entry[1]);
}
function addValue(set, value) {
  set.add(value);
}
collection('Map', addPair, mapMethods, 'pairs');
collection('Set', addValue, setMethods, 'values');
collection('WeakMap', addPair, mapMethods);
collection('WeakSet', addValue, setMethods);
