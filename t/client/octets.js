// Octets in lines of JSON: {"$binary":base64} stands for them, both ways.

'use strict';


function encode(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { $binary: Buffer.from(value).toString('base64') };
  }

  if (Array.isArray(value)) {
    return value.map(encode);
  }

  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).map(([name, v]) => [name, encode(v)]));
  }

  return value;
}


function decode(value) {
  if (Array.isArray(value)) {
    return value.map(decode);
  }

  if (value !== null && typeof value === 'object') {
    if (typeof value.$binary === 'string') {
      return Buffer.from(value.$binary, 'base64');
    }

    return Object.fromEntries(
      Object.entries(value).map(([name, v]) => [name, decode(v)]));
  }

  return value;
}


module.exports = { encode, decode };
