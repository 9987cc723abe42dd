// send.js CLIENT PORT: sends HL7 files by a client that others wrote, as its own documentation
// says: reads a file's name a line, sends what it holds on a connection of its own, and
// writes a line of JSON, {"ack": "AA"} or {"error": "why"}.
// CLIENT: medplum, simple-hl7 or node-hl7-client. NODE_PATH names where they are installed.
'use strict';
const fs = require('fs');
const readline = require('readline');

const [client, port] = [process.argv[2], Number(process.argv[3])];
const HOST = '127.0.0.1';

// Each takes the text of a message, with CR between its segments, and gives MSA-1.
const clients = {
  medplum: () => {
    const { Hl7Client } = require('@medplum/hl7');
    const { Hl7Message } = require('@medplum/core');
    return async (text) => {
      const link = new Hl7Client({ host: HOST, port });
      try {
        const ack = await link.sendAndWait(Hl7Message.parse(text));
        return ack.get('MSA')?.get(1)?.toString();
      } finally {
        link.close();
      }
    };
  },

  'simple-hl7': () => {
    const hl7 = require('simple-hl7');
    const parser = new hl7.Parser({ segmentSeperator: '\r' });
    return (text) => new Promise((resolve, reject) => {
      const link = hl7.Server.createTcpClient(HOST, port);
      link.send(parser.parse(text), (error, ack) => {
        if (error) return reject(error);
        const msa = ack.getSegment('MSA');
        resolve(msa === null || msa === undefined ? undefined : msa.getField(1));
      });
    });
  },

  'node-hl7-client': () => {
    const { Client, Message, Batch, FileBatch, isBatch, isFile } = require('node-hl7-client');
    return (text) => new Promise((resolve, reject) => {
      const kind = isFile(text) ? FileBatch : isBatch(text) ? Batch : Message;
      const message = new kind({ text });
      const link = new Client({ host: HOST }).createOutbound({ port, waitAck: true }, async (answer) => {
        try {
          // Its get() takes the CR at the end of an acknowledgement for a nameless segment.
          resolve(answer.getMessage().toString().split('\r').find((s) => s.startsWith('MSA'))?.split('|')[1]);
        } catch (error) {
          reject(error);
        }
        link.close();
      });
      link.on('error', (error) => reject(error || new Error('closed')));
      link.on('client.connect', () => link.sendMessage(message).catch(reject));
    });
  },
};

async function answerFor(send, file) {
  const text = fs.readFileSync(file).toString().replace(/\r?\n/g, '\r');
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer within 5 s')), 5000);
  });
  try {
    return { ack: await Promise.race([send(text), late]) };
  } catch (error) {
    return { error: String(error.message || error) };
  } finally {
    clearTimeout(timer);
  }
}

// A client may throw outside any promise; then this file has failed, not the run.
let failed = null;
process.on('uncaughtException', (error) => failed && failed(error));

async function main() {
  const send = clients[client]();
  for await (const file of readline.createInterface({ input: process.stdin })) {
    const thrown = new Promise((resolve) => { failed = (e) => resolve({ error: String(e.message) }); });
    process.stdout.write(JSON.stringify(await Promise.race([answerFor(send, file), thrown])) + '\n');
  }
  process.exit(0);
}

main();
