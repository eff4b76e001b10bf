pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "android-denoise"
include(":app")

// The module that `edgeseq compile --target arm64-android` has written.
include(":denoise")
project(":denoise").projectDir = file("../../dist/arm64-android")
