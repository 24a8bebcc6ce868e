"""Multiple choice by log-likelihood: which of several answers a model finds most likely."""
