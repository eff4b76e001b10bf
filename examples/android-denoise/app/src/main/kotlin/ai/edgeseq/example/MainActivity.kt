package ai.edgeseq.example

import android.Manifest
import android.app.Activity
import android.content.pm.PackageManager
import android.os.Bundle
import android.view.Gravity
import android.widget.Button
import android.widget.LinearLayout
import android.widget.Switch
import android.widget.TextView

/** One button, one switch. */
class MainActivity : Activity() {
    private var loop: Loop? = null
    private lateinit var button: Button
    private lateinit var denoise: Switch

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        button = Button(this).apply { setOnClickListener { toggle() } }
        denoise = Switch(this).apply {
            text = "Denoise"
            isChecked = true
            setOnCheckedChangeListener { _, on -> loop?.denoise = on }
        }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                gravity = Gravity.CENTER
                setPadding(64, 64, 64, 64)
                addView(TextView(context).apply { text = "Wear headphones." })
                addView(button)
                addView(denoise)
            },
        )
        show()
    }

    override fun onStop() {
        stop()
        super.onStop()
    }

    override fun onRequestPermissionsResult(code: Int, names: Array<String>, granted: IntArray) {
        if (granted.firstOrNull() == PackageManager.PERMISSION_GRANTED) start()
    }

    private fun toggle() {
        val asked = Manifest.permission.RECORD_AUDIO
        when {
            loop != null -> stop()
            checkSelfPermission(asked) == PackageManager.PERMISSION_GRANTED -> start()
            else -> requestPermissions(arrayOf(asked), 0)
        }
    }

    private fun start() {
        loop = Loop().also { it.denoise = denoise.isChecked }
        show()
    }

    private fun stop() {
        loop?.close()
        loop = null
        show()
    }

    private fun show() {
        button.text = if (loop == null) "Start" else "Stop"
    }
}
