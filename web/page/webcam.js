// The webcam drives the face: MediaPipe's tracker, loaded from its CDN when it is asked for, runs in the browser;
// pictures stay on this machine. Scores have ARKit's names and are matched by them.

import { reasonOf } from './permissions.js';
import { matched } from './retarget.js';

const LIBRARY = 'https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@0.10.21';
const MODEL = 'https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task';
// Of a new score, in a frame: steadies the tracker.
const SHARE = 0.5;

// Gives { values(now) -> expression [E], stop() }; throws an Error that says why there is no webcam.
export async function openWebcam(avatar) {
  if (navigator.onLine === false) throw new Error('no network: the face tracker is loaded from its CDN');
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, facingMode: 'user' } });
  } catch (error) {
    throw new Error(reasonOf(error, 'camera'));
  }
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  let tracker;
  try {
    tracker = await loadTracker();
  } catch (error) {
    stop();
    throw new Error(`the face tracker could not be loaded from its CDN (${error.message ?? error.type})`);
  }
  const video = document.createElement('video');
  Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  const expression = Float32Array.from(avatar.neutralExpression);
  let lastTime = -1;
  return {
    values(now) {
      if (video.currentTime === lastTime) return expression;
      lastTime = video.currentTime;
      const scores = tracker.detectForVideo(video, now).faceBlendshapes[0]?.categories;
      if (scores) follow(expression, scores, avatar);
      return expression;
    },
    stop() {
      stop();
      tracker.close();
    },
  };
}

// Scores [{ categoryName, score }] to an expression, smoothed.
export function follow(expression, scores, avatar) {
  const columns = matched(scores.map(({ categoryName }) => categoryName), avatar.names);
  columns.forEach((column, i) => {
    if (column >= 0) expression[i] += SHARE * (scores[column].score - expression[i]);
  });
}

async function loadTracker() {
  const { FaceLandmarker, FilesetResolver } = await import(`${LIBRARY}/vision_bundle.mjs`);
  const files = await FilesetResolver.forVisionTasks(`${LIBRARY}/wasm`);
  return FaceLandmarker.createFromOptions(files, {
    baseOptions: { modelAssetPath: MODEL, delegate: 'GPU' },
    runningMode: 'VIDEO',
    numFaces: 1,
    outputFaceBlendshapes: true,
  });
}
