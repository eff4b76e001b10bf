package ai.edgeseq.example

import ai.edgeseq.denoise.Denoise
import android.annotation.SuppressLint
import android.media.AudioAttributes
import android.media.AudioFormat
import android.media.AudioRecord
import android.media.AudioTrack
import android.media.MediaRecorder
import android.os.Process
import kotlin.concurrent.thread

private const val RATE = 16000 // what the model was trained at
private const val FRAME = 256 // samples of a step

/** Microphone -> model -> headphones, on a thread of its own, until [close]. */
class Loop : AutoCloseable {
    /** Whether the model's output is heard, or the microphone as it is. */
    @Volatile
    var denoise = true

    @Volatile
    private var running = true
    private val worker = thread(name = "denoise") { run() }

    private fun run() {
        Process.setThreadPriority(Process.THREAD_PRIORITY_URGENT_AUDIO)
        val microphone = microphone()
        val speaker = speaker()
        val frame = FloatArray(FRAME)
        try {
            Denoise().use { model ->
                microphone.startRecording()
                speaker.play()
                while (running && microphone.fill(frame)) {
                    // The model hears everything, so that it is not lost when it is switched on.
                    model.x.rewind()
                    model.x.put(frame)
                    model.step()
                    if (denoise) {
                        model.y.rewind()
                        model.y.get(frame)
                    }
                    speaker.write(frame, 0, FRAME, AudioTrack.WRITE_BLOCKING)
                }
            }
        } finally {
            microphone.release()
            speaker.release()
        }
    }

    private fun AudioRecord.fill(frame: FloatArray) =
        read(frame, 0, frame.size, AudioRecord.READ_BLOCKING) == frame.size

    @SuppressLint("MissingPermission") // MainActivity has asked for it
    private fun microphone(): AudioRecord {
        val least = AudioRecord.getMinBufferSize(RATE, IN, AudioFormat.ENCODING_PCM_FLOAT)
        // UNPROCESSED would be the raw sound; VOICE_RECOGNITION is near it, and every phone has it.
        val source = MediaRecorder.AudioSource.VOICE_RECOGNITION
        return AudioRecord(source, RATE, IN, AudioFormat.ENCODING_PCM_FLOAT, maxOf(least, BUFFER))
    }

    private fun speaker(): AudioTrack {
        val least = AudioTrack.getMinBufferSize(RATE, OUT, AudioFormat.ENCODING_PCM_FLOAT)
        return AudioTrack.Builder()
            .setAudioAttributes(
                AudioAttributes.Builder()
                    .setUsage(AudioAttributes.USAGE_MEDIA)
                    .setContentType(AudioAttributes.CONTENT_TYPE_SPEECH)
                    .build(),
            )
            .setAudioFormat(
                AudioFormat.Builder()
                    .setSampleRate(RATE)
                    .setChannelMask(OUT)
                    .setEncoding(AudioFormat.ENCODING_PCM_FLOAT)
                    .build(),
            )
            .setBufferSizeInBytes(maxOf(least, BUFFER))
            .build()
    }

    override fun close() {
        running = false
        worker.join()
    }

    private companion object {
        const val IN = AudioFormat.CHANNEL_IN_MONO
        const val OUT = AudioFormat.CHANNEL_OUT_MONO
        const val BUFFER = 4 * FRAME * Float.SIZE_BYTES
    }
}
