"""Stores, searches and serves: releases on disk, indexes over item vectors, and the Retriever."""
