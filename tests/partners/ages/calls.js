// Calls over many connections by grpc-js: calls.js ADDRESS CONNECTIONS SECONDS
const grpc = require('@grpc/grpc-js');
const { version } = require('@grpc/grpc-js/package.json');

// EmployeeService.GetEmployee with employee_id = 1, as bytes: no compiled messages are needed.
const METHOD = '/ringway.demo.employee.v1.EmployeeService/GetEmployee';
const REQUEST = Buffer.from([8, 1]);
const PAUSE = 2000;

const [address, connections, seconds] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const until = Date.now() + seconds * 1000;
const failed = [];
let calls = 0;

const asBytes = (bytes) => bytes;
const pause = () => new Promise((done) => setTimeout(done, Math.random() * PAUSE));

async function caller() {
  // A pool of its own makes a connection of its own.
  const options = { 'grpc.use_local_subchannel_pool': 1 };
  const client = new grpc.Client(address, grpc.credentials.createInsecure(), options);
  while (Date.now() < until) {
    await new Promise((done) => {
      const deadline = Date.now() + 20000;
      client.makeUnaryRequest(METHOD, asBytes, asBytes, REQUEST, new grpc.Metadata(), { deadline }, (error) => {
        if (error) failed.push(`${error.code}: ${error.details}`);
        else calls += 1;
        done();
      });
    });
    await pause();
  }
  client.close();
}

Promise.all(Array.from({ length: connections }, caller)).then(() => {
  failed.slice(0, 5).forEach((line) => console.log(line));
  console.log(`grpc-js ${version}: ${calls} calls, ${failed.length} failed`);
  process.exit(0);
});
